"""Views of items, of the cost of a job, and of all jobs: what ``--json`` prints."""

import json
from typing import Any

import pytest

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    CallsNeeded,
    Failed,
    ItemWarning,
    Question,
    Reply,
    plan_item,
)
from archon_batch.jobs import views
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.store import Admitted, CallId, Job, Store
from tests.builders import a_finish, a_job, a_question, a_start, an_architecture

#: The reply for each component type.
REPLIES = {
    "unit_test_generator": '["It says 4.", "It is short."]',
    "unit_test_evaluator": "Unit Test #1: [Passed]\nUnit Test #2: [Failed]",
    "critic": "[1]\nStrengths: a\nWeaknesses: b\n\n[2]\nStrengths: c\nWeaknesses: d",
    "ranker": "Answer: [2] > [1]",
    "verifier": "[Correct]",
}
ALL = (
    "unit_test_generator",
    {"type": "generator", "samples": 2},
    "unit_test_evaluator",
    "critic",
    {"type": "ranker", "top_k": 1},
    "fuser",
    "verifier",
    {"type": "voter", "extract": "number"},
)


def run(store: Store, job: Job, rounds: int = 100, **replies: str | Reply) -> None:
    """Run the job's one item, to its end or for some rounds, and record its attempts."""
    architecture = load_frozen_job(job, COMPONENT_TYPES).architecture
    for _ in range(rounds):
        (item,) = store.items.open_in_shard(job.id, 0)
        step = plan_item(architecture, item.question, item.replies)
        if not isinstance(step, CallsNeeded):
            store.items.finish(job.id, [(0, step)])
            return
        for call in step.calls:
            request = a_start(
                job,
                call=CallId(job.id, 0, call.key),
                fingerprint=str(call.key),
                kind=call.component_type,
            )
            given = (REPLIES | replies).get(
                call.component_type, f"It says {call.key.request_index}."
            )
            reply = given if isinstance(given, Reply) else Reply(given)
            admitted = store.attempt_writer.admit(request).result(30)
            if isinstance(admitted, Admitted):
                result = a_finish(request, admitted.attempt_number, reply=reply)
                store.attempt_writer.settle(result).result(30)


def a_job_after(store: Store, *layers: Any, rounds: int = 100, **replies: str | Reply) -> Job:
    job = a_job(store, architecture=an_architecture(*layers), questions=[a_question()])
    run(store, job, rounds, **replies)
    return job


def details(store: Store, job: Job) -> dict[str, Any]:
    figures = views.item_details(store, job, store.item_results.get(job.id, "row-1"))
    # JSON must represent it exactly.
    assert json.loads(json.dumps(figures)) == figures
    return figures


def test_an_item_has_the_effect_of_each_component_and_every_candidate(store: Store) -> None:
    figures = details(store, a_job_after(store, *ALL))

    effects = [c["effect"] for layer in figures["layers"] for c in layer["components"]]
    assert effects == [
        "wrote 2 unit tests",
        "made 2 candidates",
        "tests passed: 1.0.0 1/2, 1.0.1 1/2",
        "wrote critiques of 2",
        "ranked 2, kept 1.0.1",
        "fused 1 candidate into 1",
        "verified 1 of 1",
        "1 of 1 vote for 0",
    ]
    (ranker,) = figures["layers"][4]["components"]
    assert ranker == {
        "component": 0,
        "type": "ranker",
        "model": "scripted/plausible",
        "effect": "ranked 2, kept 1.0.1",
        "warnings": [],
        "calls": ["4.0.0.0"],
    }
    assert figures["layers"][4]["candidates"] == [
        {
            "id": "1.0.1",
            "text": "It says 1.",
            "parents": [],
            "critique": "Strengths: c\nWeaknesses: d",
            "tests": [
                {"test": "It says 4.", "passed": True},
                {"test": "It is short.", "passed": False},
            ],
            "scores": {"unit_tests": 0.5},
        }
    ]
    assert figures["layers"][7]["candidates"][0]["parents"] == ["1.0.1"]
    assert figures["layers"][7]["candidates"][0]["scores"] == {"verified": 1.0, "votes": 1.0}
    assert figures["layers"][0]["unit_tests"] == ["It says 4.", "It is short."]
    assert figures["messages"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert (figures["answer"], figures["candidate"]) == ("It says 0.", "5.0.0")
    assert (figures["missing"], figures["trace_error"]) == ([], None)


def test_every_call_belongs_to_the_component_that_made_it(store: Store) -> None:
    figures = details(store, a_job_after(store, *ALL))

    keys_by_component = [c["calls"] for layer in figures["layers"] for c in layer["components"]]
    assert [len(keys) for keys in keys_by_component] == [1, 2, 2, 1, 1, 1, 2, 0]
    assert [key for keys in keys_by_component for key in keys] == [
        c["call"] for c in figures["calls_made"]
    ]


def test_warnings_are_listed_with_their_component(store: Store) -> None:
    figures = details(store, a_job_after(store, *ALL, ranker="no order"))

    (ranker,) = figures["layers"][4]["components"]
    assert [warning["kind"] for warning in ranker["warnings"]] == ["unparsed"] * 3 + ["skipped"]
    assert [{"layer": 4, "component": 0, **warning} for warning in ranker["warnings"]] == figures[
        "warnings"
    ]


def test_an_open_item_has_its_finished_layers_and_its_missing_calls(store: Store) -> None:
    figures = details(store, a_job_after(store, *ALL, rounds=2))

    *done, waiting = figures["layers"]
    assert [c["effect"] for layer in done for c in layer["components"]] == [
        "wrote 2 unit tests", "made 2 candidates",
    ]  # fmt: skip
    assert waiting["components"][0]["effect"] is None
    assert (waiting["candidates"], waiting["unit_tests"]) == (None, None)
    assert figures["missing"] == ["2.0.0.0", "2.0.1.0"]
    assert (figures["status"], figures["candidate"], figures["trace_error"]) == ("open", None, None)


def test_a_failed_item_ends_with_the_layer_that_left_no_candidate(store: Store) -> None:
    no = Reply(None, failure="refused: no")
    figures = details(store, a_job_after(store, *ALL, generator=no))

    assert figures["status"] == "failed"
    assert figures["layers"][-1]["components"][0]["effect"] == "made no candidate"
    assert figures["layers"][-1]["candidates"] == []
    assert (figures["missing"], figures["trace_error"]) == ([], None)


def test_an_invalid_row_has_no_layers_and_no_missing_calls(store: Store) -> None:
    job = a_job(store, questions=[Question("row-1", ())])
    store.items.finish(job.id, [(0, Failed(0, "prompt: missing"))])

    figures = details(store, job)

    assert figures["reason"] == "layer 0: prompt: missing"
    assert (figures["messages"], figures["layers"], figures["missing"]) == ([], [], [])
    assert figures["trace_error"] is None


def test_a_job_with_a_component_that_is_not_installed_shows_its_calls(store: Store) -> None:
    job = a_job_after(store, *ALL)
    job.architecture["layers"][6][0]["type"] = "prover"

    figures = details(store, job)

    assert "layers[6][0].type: no component 'prover'" in figures["trace_error"]
    assert (figures["layers"], figures["missing"], figures["candidate"]) == ([], [], None)
    assert figures["answer"] == "It says 0."
    assert len(figures["calls_made"]) == 10


@pytest.mark.parametrize(
    ("rounds", "final"),
    [(2, Answer("It says 0.", "5.0.0")), (2, Failed(0, "no")), (8, Answer("other", "5.0.0"))],
)
def test_replies_that_do_not_give_the_stored_answer_are_not_traced(
    store: Store, rounds: int, final: Answer | Failed
) -> None:
    job = a_job_after(store, *ALL, rounds=rounds)
    store.items.finish(job.id, [(0, final)])

    figures = details(store, job)

    assert figures["trace_error"] == (
        "this version of the program computes another answer from the replies"
    )
    assert (figures["layers"], figures["missing"], figures["candidate"]) == ([], [], None)
    assert len(figures["calls_made"]) == (3 if rounds == 2 else 10)


def test_the_cost_of_a_component_counts_its_warnings_by_kind(store: Store) -> None:
    job = a_job_after(
        store, *ALL, ranker="no order", fuser=Reply("It says 4", finish_reason="length")
    )

    groups = views.job_cost(store, job, "component")["by"]

    kinds = ("unparsed", "failed", "skipped", "context_overflow", "truncated")
    counts = {group["kind"]: [group[kind] for kind in kinds] for group in groups}
    assert counts["ranker"] == [3, 0, 1, 0, 0]
    assert counts["fuser"] == [0, 0, 0, 0, 1]
    assert counts["critic"] == [0, 0, 0, 0, 0]


def test_a_component_with_warnings_but_without_calls_is_in_the_cost(store: Store) -> None:
    job = a_job_after(store, *ALL, fuser="no number", verifier="[Correct]")

    *_, last = groups = views.job_cost(store, job, "component")["by"]

    assert (last["kind"], last["model"], last["calls"], last["skipped"]) == ("voter", None, 0, 1)
    assert [group["layer"] for group in groups] == list(range(8))


def test_the_cost_of_a_job_without_warnings_has_no_counts(store: Store) -> None:
    groups = views.job_cost(store, a_job_after(store, *ALL), "component")["by"]

    assert len(groups) == 7
    assert not any("unparsed" in group for group in groups)


def test_only_the_cost_by_component_has_warnings(store: Store) -> None:
    job = a_job(store, questions=[a_question()])
    store.items.finish(
        job.id, [(0, Answer("4", "0.0.0", (ItemWarning(0, 0, "truncated", "truncated"),)))]
    )

    assert views.job_cost(store, job, "layer")["by"] == []
    assert [group["truncated"] for group in views.job_cost(store, job, "component")["by"]] == [1]


def test_the_cost_of_reasks_is_that_of_their_component(store: Store) -> None:
    job = a_job_after(store, *ALL, ranker="no order")

    figures = views.job_cost(store, job, "component")

    reasks = {group["kind"]: group["reask_usd"] for group in figures["by"]}
    # An attempt costs 60 nano-dollars, and the ranker was re-asked twice.
    assert reasks["ranker"] == figures["reask_usd"] == 120 / 10**9
    assert sum(reasks.values()) == reasks["ranker"]
    assert views.job_status(store, job)["reask_usd"] == figures["reask_usd"]


def test_the_cost_of_unused_candidates_is_that_of_their_generator(
    store: Store,
) -> None:
    job = a_job_after(store, *ALL)

    figures = views.job_cost(store, job, "component")

    unused = {group["kind"]: group["unused_usd"] for group in figures["by"]}
    # The fuser saw one of the two candidates.
    assert unused["generator"] == figures["unused_usd"] == 60 / 10**9
    assert sum(unused.values()) == unused["generator"]


def test_a_reopened_row_has_no_unused_candidates(store: Store) -> None:
    job = a_job_after(store, {"type": "generator", "samples": 2}, "ranker", ranker="[2] > [1]")
    assert views.job_status(store, job)["unused_usd"] > 0

    store.items.reopen(job.id, ["answered"])

    assert views.job_status(store, job)["unused_usd"] == 0


def test_a_search_is_one_entry_unless_all_jobs_are_listed(store: Store) -> None:
    store.searches.start("s1", "mine", {"datasets": ["rows.jsonl"]}, 2_000_000_000)
    trial, own = a_job(store, name="mine/0.5"), a_job(store, name="another")
    store.searches.add_jobs("s1", [trial.id])

    listed = views.list_jobs(store)
    complete = views.list_jobs(store, include_search_jobs=True)

    assert {(one["job"], one["search"]) for one in listed} == {(own.id, None), (None, "s1")}
    (search,) = [one for one in listed if one["search"]]
    keys = ("name", "state", "dataset", "budget_usd", "usd")
    assert [search[key] for key in keys] == ["mine", "running", "rows.jsonl", 2.0, 0.0]
    assert {(one["job"], one["search"]) for one in complete} == {
        (own.id, None), (None, "s1"), (trial.id, "s1"),
    }  # fmt: skip
    assert len({frozenset(one) for one in complete}) == 1
