"""The queue of a call, and the labels of a batch."""

import pytest

from archon_batch.archon import Model
from archon_batch.engine import chords
from archon_batch.engine.queues import calls_queue_for
from archon_batch.jobs.shard_step import CallBatch, advance_shard
from tests.builders import a_running_job, an_architecture

MINI = Model(model="openai/gpt-4o-mini")


@pytest.mark.parametrize(
    ("consumed", "queue"),
    [
        (set(), "calls"),
        ({"calls", "calls.anthropic", "calls.openai/gpt-4o"}, "calls"),
        ({"calls", "calls.openai"}, "calls.openai"),
        ({"calls.openai", "calls.openai/gpt-4o-mini"}, "calls.openai/gpt-4o-mini"),
    ],
)
def test_calls_go_to_a_specific_queue_only_if_a_worker_consumes_it(consumed, queue):
    assert calls_queue_for(MINI, consumed) == queue


def test_a_batch_holds_calls_of_one_queue_and_counts_their_models(store):
    architecture = an_architecture(
        [
            {"type": "generator", "model": "scripted/plausible", "samples": 3},
            {"type": "generator", "model": "scripted/rough", "samples": 2},
        ]
    )
    job = a_running_job(store, architecture=architecture, questions=2)

    separate = advance_shard(store, job, 0, lambda model: f"calls.{model.model}").call_batches
    together = advance_shard(store, job, 0).call_batches

    assert separate == [
        CallBatch(
            "calls.scripted/plausible",
            [(ix, ["0.0.0.0", "0.0.1.0", "0.0.2.0"]) for ix in range(2)],
            {"scripted/plausible": 6},
        ),
        CallBatch(
            "calls.scripted/rough",
            [(ix, ["0.1.0.0", "0.1.1.0"]) for ix in range(2)],
            {"scripted/rough": 4},
        ),
    ]
    assert [(p.queue, p.models) for p in together] == [
        ("", {"scripted/plausible": 6, "scripted/rough": 4})
    ]


class Job:
    id, name = "abc", "labels"


@pytest.mark.parametrize(
    ("batch", "models", "label"),
    [
        ([(0, ["1.0.0.0"])], {"openai/gpt-4o-mini": 1}, "row 1, layer 1, gpt-4o-mini x 1"),
        (
            [(0, ["0.0.0.0"]), (31, ["0.0.0.0", "2.1.0.0"])],
            {"gpt-4o": 2, "hosted_vllm/org/llama": 1},
            "rows 1-32, layers 0-2, gpt-4o x 2 + org/llama x 1",
        ),
    ],
)
def test_a_batch_is_labelled_with_job_rows_layer_and_models(batch, models, label):
    assert chords.label_batch(Job(), CallBatch("calls", batch, models)) == {
        "argsrepr": "labels",
        "kwargsrepr": label,
    }


def test_a_shard_step_is_labelled_with_job_and_shard():
    assert chords.label_shard_step(Job(), 3) == {
        "argsrepr": "labels",
        "kwargsrepr": "shard 3, planning",
    }
