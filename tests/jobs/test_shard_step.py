"""A step of a shard: final items, missing calls, and their batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import CallKey, Reply, run_item
from archon_batch.jobs.shard_step import (
    BATCH_SIZE,
    _split_into_batches,
    advance_shard,
    missing_calls,
)
from archon_batch.store import Admitted, CallId
from tests.builders import (
    a_finish,
    a_question,
    a_running_job,
    a_start,
    an_architecture,
    answers,
    as_stored,
    ends,
)

FIVE = {"type": "generator", "samples": 5}


def keys(*indices):
    """Keys of the first component's calls, as a message carries them."""
    return [f"0.0.{index}.0" for index in indices]


def settle(store, job, ix, key, reply):
    key = CallKey(0, 0, key, 0) if isinstance(key, int) else key
    request = a_start(job, call=CallId(job.id, ix, key), fingerprint=f"{ix}/{key}", use_cache=False)
    admitted = store.attempt_writer.admit(request).result(30)
    assert isinstance(admitted, Admitted)
    store.attempt_writer.settle(a_finish(request, admitted.attempt_number, reply=reply)).result(30)


def test_a_new_shard_is_missing_the_first_layer_of_all_its_items(store):
    job = a_running_job(store, architecture=an_architecture(FIVE), questions=4, shard=3)

    step = advance_shard(store, job, 0)

    assert step.batch_keys == [[(ix, keys(0, 1, 2, 3, 4)) for ix in range(3)]]
    assert step.ended_count == 0


@pytest.mark.parametrize(
    ("samples", "rows", "sizes"),
    [
        (5, 6, [6]),
        (5, 7, [7]),
        (5, 8, [7, 1]),
        (5, 16, [7, 7, 2]),
        (BATCH_SIZE, 3, [1, 1, 1]),
        (BATCH_SIZE + 1, 2, [1, 1]),
        (BATCH_SIZE - 1, 3, [2, 1]),
        (1, BATCH_SIZE, [BATCH_SIZE]),
        (1, BATCH_SIZE + 1, [BATCH_SIZE, 1]),
    ],
)
def test_batches_hold_whole_items(store, samples, rows, sizes):
    architecture = an_architecture({"type": "generator", "samples": samples})
    job = a_running_job(store, architecture=architecture, questions=rows, shard=100)

    step = advance_shard(store, job, 0)

    assert [len(batch) for batch in step.batch_keys] == sizes
    assert [ix for batch in step.batch_keys for ix, _ in batch] == list(range(rows))
    assert all(len(keys) == samples for batch in step.batch_keys for _, keys in batch)


@given(sizes=st.lists(st.integers(1, 3 * BATCH_SIZE), max_size=40))
def test_every_batch_but_the_last_is_full_and_exceeds_the_size_by_less_than_an_item(sizes):
    items = [(ix, keys(*range(size))) for ix, size in enumerate(sizes)]

    batches = _split_into_batches(items, BATCH_SIZE)

    assert [item for batch in batches for item in batch] == items
    for batch in batches:
        before_last = sum(len(calls) for _, calls in batch[:-1])
        assert before_last < BATCH_SIZE
        assert batch is batches[-1] or before_last + len(batch[-1][1]) >= BATCH_SIZE


def test_final_items_are_recorded_and_the_other_items_need_calls(store):
    architecture = an_architecture("generator")
    job = a_running_job(store, architecture=architecture, questions=3)
    settle(store, job, 0, 0, Reply("four"))
    settle(store, job, 2, 0, Reply(None, failure="refused: no"))

    step = advance_shard(store, job, 0)

    assert step.batch_keys == [[(1, keys(0))]]
    assert step.ended_count == 2
    assert ends(store, store.jobs.get(job.id)) == [
        ("answered", "four", None, 0),
        ("open", None, None, 0),
        ("failed", None, "layer 0: refused: no", 2),
    ]


def test_a_shard_whose_items_are_final_needs_no_calls(store):
    job = a_running_job(store, architecture=an_architecture("generator"), questions=1)
    settle(store, job, 0, 0, Reply("four"))

    first, again = advance_shard(store, job, 0), advance_shard(store, job, 0)

    assert (first.batch_keys, first.ended_count) == ([], 1)
    assert (again.batch_keys, again.ended_count) == ([], 0)
    assert advance_shard(store, job, 7).batch_keys == []


def test_only_calls_without_a_reply_are_missing(store):
    job = a_running_job(store, architecture=an_architecture(FIVE), questions=1)
    settle(store, job, 0, 3, Reply("four"))

    step = advance_shard(store, job, 0)

    assert step.batch_keys == [[(0, keys(0, 1, 2, 4))]]


def test_planning_turns_the_keys_of_a_batch_into_calls(store):
    job = a_running_job(store, architecture=an_architecture(FIVE), questions=2)
    (batch,) = advance_shard(store, job, 0).batch_keys

    calls = missing_calls(store, job, batch)

    assert [(ix, str(call.key)) for ix, call in calls] == [
        (ix, f"0.0.{index}.0") for ix in range(2) for index in range(5)
    ]
    assert calls[5][1].messages[-1].content == "What is 1 + 1?"


def test_a_call_that_was_settled_meanwhile_is_not_missing(store):
    job = a_running_job(store, architecture=an_architecture(FIVE), questions=2)
    (batch,) = advance_shard(store, job, 0).batch_keys
    for index in range(5):
        settle(store, job, 0, index, Reply("four"))
    settle(store, job, 1, 2, Reply("two"))
    advance_shard(store, job, 0)

    calls = missing_calls(store, job, batch)

    assert [(ix, call.key.request_index) for ix, call in calls] == [(1, 0), (1, 1), (1, 3), (1, 4)]


def test_calls_of_later_layers_wait_for_another_round(store):
    job = a_running_job(store, architecture=an_architecture("generator", "critic"), questions=1)
    (batch,) = advance_shard(store, job, 0).batch_keys
    settle(store, job, 0, 0, Reply("four"))

    assert missing_calls(store, job, batch) == []
    assert [keys for [(_, keys)] in advance_shard(store, job, 0).batch_keys] == [["1.0.0.0"]]


@pytest.mark.parametrize("seed", range(0, 60, 10))
def test_rounds_give_every_item_the_answer_of_the_interpreter(store, seed):
    architecture = an_architecture()
    questions = [a_question(f"How high is {n}?", row=f"row-{n}") for n in range(8)]
    job = a_running_job(store, architecture=architecture, questions=questions)

    while batches := advance_shard(store, job, 0).batch_keys:
        for ix, call in [pair for batch in batches for pair in missing_calls(store, job, batch)]:
            settle(store, job, ix, call.key, answers(seed + ix)(call))

    expected = [
        as_stored(run_item(architecture, question, answers(seed + ix))[0])
        for ix, question in enumerate(questions)
    ]
    assert ends(store, store.jobs.get(job.id)) == expected
