"""Items: what is open, the replies so far, and the ends."""

import pytest

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    CallKey,
    CallsNeeded,
    Failed,
    ItemWarning,
    Question,
    Reply,
    plan_item,
    run_item,
)
from archon_batch.errors import Billing, JobNotFoundError
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.money import NanoUsd
from archon_batch.store import Admitted, AlreadySettled, CallId, JobNotRunning
from tests.builders import a_finish, a_job, a_question, a_start, an_architecture

ANSWER = Answer("four", "0.0.0", (ItemWarning(0, 0, "failed", "refused: no"),))
GAVE_UP = Failed(2, "refused: no")


def settle(store, start, reply, *, billing=Billing.BILLED, n=1):
    assert isinstance(store.attempt_writer.admit(start).result(30), Admitted)
    cost = NanoUsd(60 if billing is Billing.BILLED else 0)
    store.attempt_writer.settle(a_finish(start, n, reply=reply, billing=billing, cost=cost)).result(
        30
    )


def play(store, job, answer):
    """Plan the job's only item from its stored replies, and store its result."""
    architecture = load_frozen_job(job, COMPONENT_TYPES).architecture
    while True:
        (item,) = store.items.open_in_shard(job.id, 0)
        step = plan_item(architecture, item.question, item.replies)
        if not isinstance(step, CallsNeeded):
            store.items.finish(job.id, [(0, step)])
            return step
        for call in step.calls:
            start = a_start(job, call=CallId(job.id, 0, call.key), fingerprint=call.fingerprint)
            begun = store.attempt_writer.admit(start).result(30)
            if isinstance(begun, Admitted):
                store.attempt_writer.settle(
                    a_finish(start, begun.attempt_number, reply=answer(call))
                ).result(30)


def test_an_open_item_has_its_question_and_its_replies(any_store):
    questions = [a_question("How high?", row="a"), a_question("How deep?", row="b")]
    job = a_job(any_store, questions=questions)
    settle(any_store, a_start(job, ix=1, slot=0), Reply("deep", finish_reason="length"))
    settle(any_store, a_start(job, ix=1, slot=1), Reply(None, failure="refused: no"))

    high, deep = any_store.items.open_in_shard(job.id, 0)

    assert (high.ix, high.question, high.replies) == (0, questions[0], {})
    assert (deep.ix, deep.question) == (1, questions[1])
    assert deep.replies == {
        CallKey(0, 0, 0, 0): Reply("deep", finish_reason="length"),
        CallKey(0, 0, 1, 0): Reply(None, failure="refused: no"),
    }


def test_open_items_are_listed_by_shard_or_index_in_order(any_store):
    job = a_job(any_store, questions=7, shard=3)
    any_store.items.finish(job.id, [(4, ANSWER)])

    in_shard = [item.ix for item in any_store.items.open_in_shard(job.id, 1)]
    among = [item.ix for item in any_store.items.open_by_index(job.id, [6, 4, 0, 99])]

    assert in_shard == [3, 5]
    assert among == [0, 6]


def test_items_belong_to_one_job(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    settle(any_store, a_start(job), Reply("four"))
    any_store.items.finish(job.id, [(1, ANSWER)])

    items = any_store.items.open_in_shard(other.id, 0)

    assert [(item.ix, item.replies) for item in items] == [(0, {}), (1, {})]


def test_results_are_stored_with_their_warnings(any_store):
    job = a_job(any_store)

    any_store.items.finish(job.id, [(0, ANSWER), (1, GAVE_UP)])

    answered, failed = any_store.item_results.all(job.id)
    assert (answered.status, answered.answer, answered.reason) == ("answered", "four", None)
    assert answered.warnings == [
        {"layer": 0, "component": 0, "kind": "failed", "why": "refused: no"}
    ]
    assert (failed.status, failed.answer) == ("failed", None)
    assert (failed.reason, failed.warnings) == ("layer 2: refused: no", ())
    assert any_store.items.open_in_shard(job.id, 0) == []


def test_a_final_item_is_left_unchanged(any_store):
    job = a_job(any_store)
    any_store.items.finish(job.id, [(0, ANSWER)])

    any_store.items.finish(job.id, [(0, GAVE_UP), (1, GAVE_UP)])

    assert [e.status for e in any_store.item_results.all(job.id)] == ["answered", "failed"]


def test_an_empty_list_of_results_changes_nothing(any_store):
    job = a_job(any_store)

    any_store.items.finish(job.id, [])

    assert any_store.usage.progress(job.id).open == 2


def test_a_job_has_open_items_until_the_last_is_final(any_store):
    job = a_job(any_store, questions=2)

    any_store.items.finish(job.id, [(0, ANSWER)])
    before = any_store.items.has_open(job.id)
    any_store.items.finish(job.id, [(1, GAVE_UP)])

    assert (before, any_store.items.has_open(job.id)) == (True, False)


def test_cancelling_affects_open_items_only(any_store):
    job, other = a_job(any_store, questions=3), a_job(any_store, name="other")
    any_store.items.finish(job.id, [(0, ANSWER), (1, GAVE_UP)])

    any_store.items.cancel_job(job.id)

    statuses = [e.status for e in any_store.item_results.all(job.id)]
    assert statuses == ["answered", "failed", "cancelled"]
    assert any_store.usage.progress(other.id).open == 2


def test_a_retry_opens_failed_items_and_deletes_only_their_failures(any_store):
    job = a_job(any_store, questions=3)
    for ix in range(2):
        settle(any_store, a_start(job, ix, slot=0), Reply("good"))
        settle(any_store, a_start(job, ix, slot=1), Reply(None, failure="refused: no"))
        settle(any_store, a_start(job, ix, slot=2), Reply(""))
    any_store.items.finish(job.id, [(0, GAVE_UP), (1, ANSWER)])

    opened = any_store.items.reopen(job.id, ["failed"])

    assert opened == 1
    item, untouched = any_store.items.open_in_shard(job.id, 0)
    assert (item.ix, item.replies) == (0, {CallKey(0, 0, 0, 0): Reply("good")})
    assert untouched.ix == 2
    ending = any_store.item_results.get(job.id, "row-0")
    assert (ending.status, ending.reason, ending.warnings) == ("open", None, ())
    assert ending.usage.attempts == 3
    assert ending.usage.cost == 180


@pytest.mark.parametrize("text", ["", "  ", "\n", " \r\n\t ", "\u2003"])
def test_a_retry_deletes_every_blank_reply(any_store, text):
    job = a_job(any_store)
    settle(any_store, a_start(job), Reply(text))
    any_store.items.finish(job.id, [(0, Failed(0, "the reply was empty"))])

    any_store.items.reopen(job.id, ["failed"])

    assert any_store.items.open_in_shard(job.id, 0)[0].replies == {}


def test_a_retry_restarts_the_count_of_attempts(any_store):
    job = a_job(any_store)
    start = a_start(job)
    settle(any_store, start, Reply(None, failure="refused: no"), billing=Billing.NOT_BILLED)
    any_store.items.finish(job.id, [(0, GAVE_UP)])

    any_store.items.reopen(job.id, ["failed"])

    assert any_store.attempt_writer.admit(a_start(job)).result(30) == Admitted(
        attempt_number=2, counted_attempts=1, in_doubt=0
    )


def test_cancelled_items_can_be_opened_too(any_store):
    job = a_job(any_store, questions=3)
    any_store.items.finish(job.id, [(0, ANSWER), (1, GAVE_UP)])
    any_store.items.cancel_job(job.id)

    opened = any_store.items.reopen(job.id, ["cancelled", "failed"])

    assert opened == 2
    assert [i.ix for i in any_store.items.open_in_shard(job.id, 0)] == [1, 2]


def test_a_rejected_row_is_not_opened(any_store):
    job = a_job(any_store, questions=[a_question(row="row-0"), Question("row-1", ())])
    any_store.items.finish(job.id, [(0, GAVE_UP), (1, GAVE_UP)])

    assert any_store.items.reopen(job.id, ["failed"]) == 1


def test_many_items_are_opened_together(any_store):
    job = a_job(any_store, questions=1_203)
    any_store.items.cancel_job(job.id)

    assert any_store.items.reopen(job.id, ["cancelled"]) == 1_203
    assert any_store.usage.progress(job.id).open == 1_203


def fail(store, job, ix, *outcomes, why="no", layer=0):
    """Give the item a call that fails, after so many attempts, and end the item for it."""
    for n, outcome in enumerate(outcomes, 1):
        last = n == len(outcomes)
        start = a_start(job, ix, fingerprint=f"{ix}")
        assert isinstance(store.attempt_writer.admit(start).result(30), Admitted)
        reply = Reply(None, failure=f"{outcome}: {why}") if last else None
        store.attempt_writer.settle(
            a_finish(start, n, outcome=outcome, billing=Billing.NOT_BILLED, reply=reply)
        ).result(30)
    store.items.finish(job.id, [(ix, Failed(layer, why))])


@pytest.fixture
def ended(any_store):
    """Six rows: refused, timed out, timed out and then refused, limited, answered, cancelled."""
    job = a_job(any_store, questions=6)
    fail(any_store, job, 0, "refused", why="Not 100% safe")
    fail(any_store, job, 1, "call_timeout", why="it was long", layer=1)
    fail(any_store, job, 2, "call_timeout", "refused", why="Not 100 percent safe")
    fail(any_store, job, 3, "rate_limit", why="a timeout of sorts", layer=10)
    settle(any_store, a_start(job, 5, slot=1), Reply("fine"))
    any_store.items.finish(job.id, [(4, ANSWER)])
    any_store.items.cancel_job(job.id)
    return job


ALL = ["failed", "cancelled"]


@pytest.mark.parametrize(
    ("wanted", "opened"),
    [
        ({}, [0, 1, 2, 3, 5]),
        ({"reasons": ["refused"]}, [0, 2]),
        ({"reasons": ["call_timeout"]}, [1]),
        ({"reasons": ["timeout"]}, [1, 3]),
        ({"reasons": ["rate_limit"]}, [3]),
        ({"reasons": ["not 100%"]}, [0]),
        ({"reasons": ["100_"]}, []),
        ({"reasons": ["safe", "refused"]}, [0, 2]),
        ({"reasons": ["safe", "call_timeout"]}, []),
        ({"reasons": ["ok"]}, []),
        ({"layers": [1]}, [1]),
        ({"layers": [10]}, [3]),
        ({"layers": [1], "reasons": ["refused"]}, []),
        ({"row_ids": ["row-2"]}, [2]),
        ({"row_ids": ["row-5"], "reasons": ["refused"]}, []),
        ({"row_ids": ["row-4"]}, []),
        ({"row_ids": ["row"]}, []),
    ],
)
def test_a_retry_opens_only_matching_items(any_store, ended, wanted, opened):
    count = any_store.items.reopen(ended.id, ALL, **wanted)

    assert [item.ix for item in any_store.items.open_in_shard(ended.id, 0)] == opened
    assert count == len(opened)


def test_a_failure_of_another_job_or_before_a_retry_does_not_match(any_store, ended):
    other = a_job(any_store, name="other", questions=6)
    any_store.items.cancel_job(other.id)

    assert any_store.items.reopen(other.id, ALL, reasons=["rate_limit"]) == 0
    assert any_store.items.reopen(ended.id, ALL, reasons=["rate_limit"]) == 1
    any_store.items.cancel_job(ended.id)
    assert any_store.items.reopen(ended.id, ALL, reasons=["rate_limit"]) == 0
    assert any_store.items.reopen(ended.id, ["cancelled"]) == 2


def test_failure_reasons_are_counted_in_descending_order(any_store):
    job, other = a_job(any_store, questions=7), a_job(any_store, name="other")
    any_store.items.finish(job.id, [(ix, GAVE_UP) for ix in range(3)])
    any_store.items.finish(job.id, [(3, Failed(0, "blank")), (4, ANSWER)])
    any_store.items.cancel_job(other.id)

    before = any_store.items.failure_counts(job.id)
    any_store.items.cancel_job(job.id)

    assert before == [("failed", "layer 2: refused: no", 3), ("failed", "layer 0: blank", 1)]
    assert any_store.items.failure_counts(job.id) == [
        before[0], ("cancelled", None, 2), before[1],
    ]  # fmt: skip


def test_a_retried_item_gets_the_result_of_all_its_replies(any_store):
    architecture = an_architecture(
        {"type": "generator", "samples": 2}, {"type": "ranker", "retries": 0}, "fuser"
    )
    job = a_job(any_store, architecture=architecture, questions=1)
    outage = {"0.0.1.0", "2.0.0.0"}

    def good(call):
        if call.component_type == "ranker":
            return Reply(call.reply_format.example)
        return Reply(f"text {call.fingerprint[:6]}")

    def bad(call):
        return Reply(None, failure="provider_down") if str(call.key) in outage else good(call)

    assert isinstance(play(any_store, job, bad), Failed)
    any_store.items.reopen(job.id, ["failed"])
    end = play(any_store, job, good)

    assert end == run_item(architecture, a_question("What is 0 + 0?", row="row-0"), good)[0]


def test_an_item_is_found_by_its_row_id(any_store):
    job = a_job(any_store)
    any_store.items.finish(job.id, [(1, ANSWER)])

    assert any_store.item_results.get(job.id, "row-1").answer == "four"
    with pytest.raises(JobNotFoundError, match="it has no row 'row-7'"):
        any_store.item_results.get(job.id, "row-7")


def test_a_large_job_is_read_in_chunks_and_in_order(any_store):
    job = a_job(any_store, questions=1_203)

    rows = [(e.ix, e.row_id, e.status, e.extras) for e in any_store.item_results.all(job.id)]

    assert rows == [(n, f"row-{n}", "open", {"place": f"row-{n}"}) for n in range(1_203)]


def test_the_duration_of_an_item_starts_with_its_first_attempt(any_store):
    job = a_job(any_store)
    settle(any_store, a_start(job), Reply("four"))
    any_store.items.finish(job.id, [(0, ANSWER), (1, ANSWER)])

    sent, found = any_store.item_results.all(job.id)

    assert sent.seconds is not None
    assert 0 <= sent.seconds < 60
    assert found.seconds is None


def test_calls_are_listed_in_the_order_of_their_keys(any_store):
    job = a_job(any_store)
    for slot in (10, 2, 0):
        settle(any_store, a_start(job, slot=slot), Reply(f"text {slot}"))
    any_store.attempt_writer.admit(a_start(job, slot=1)).result(30)

    lines = any_store.item_results.calls(job.id, 0)

    assert [(line.key[:-2], line.text) for line in lines] == [
        ("0.0.0", "text 0"), ("0.0.1", None), ("0.0.2", "text 2"), ("0.0.10", "text 10"),
    ]  # fmt: skip
    assert [attempt.state for attempt in lines[1].attempts] == ["sending"]
    assert lines[1].attempts[0].ended_at is None


def test_a_cancelled_job_admits_no_call(any_store):
    job = a_job(any_store)
    settle(any_store, a_start(job), Reply("four"))
    any_store.jobs.change_state(job.id, "cancelled", from_states=["running"])

    verdicts = [
        any_store.attempt_writer.admit(a_start(job, slot=slot)).result(30) for slot in (0, 1)
    ]

    assert verdicts == [AlreadySettled(), JobNotRunning()]


@pytest.mark.parametrize("state", ["running", "paused", "stopped"])
def test_cancelling_ends_the_job_with_its_items(any_store, state):
    job = a_job(any_store)
    any_store.jobs.change_state(job.id, state, from_states=["running"])

    assert any_store.items.cancel_job(job.id)

    assert any_store.jobs.get(job.id).state == "cancelled"
    assert any_store.usage.progress(job.id).cancelled == 2
    assert not any_store.items.cancel_job(job.id)


@pytest.mark.parametrize("state", ["cancelled", "done"])
def test_open_items_of_an_ended_job_can_be_cancelled_and_opened(any_store, state):
    job = a_job(any_store)
    any_store.jobs.change_state(job.id, state, from_states=["running"])

    assert any_store.items.cancel_job(job.id) is (state == "cancelled")
    assert any_store.items.reopen(job.id, ["cancelled"]) == 2

    assert any_store.jobs.get(job.id).state == "running"
    assert any_store.usage.progress(job.id).open == 2


def test_a_job_is_not_done_while_an_item_is_open(any_store):
    job = a_job(any_store)

    assert not any_store.jobs.mark_done_if_complete(job.id)
    assert any_store.jobs.get(job.id).state == "running"


@pytest.mark.parametrize("state", ["paused", "done", "cancelled"])
def test_a_job_resumes_with_its_budget_in_one_commit(any_store, state):
    job = a_job(any_store, budget=5)
    any_store.jobs.change_state(job.id, state, from_states=["running"])

    after = any_store.jobs.resume(job.id, from_states=["paused"], budget=9)

    assert (after.state, after.budget) == ("running" if state == "paused" else state, 9)
    assert after == any_store.jobs.get(job.id)
