"""Item results: the question, the replies and the calls of an item in any state."""

import pytest

from archon_batch.archon import Answer, CallKey, Message, Question, Reply
from tests.builders import a_finish, a_job, a_question, a_start

SAID = Message("assistant", "Four.")


@pytest.fixture
def job(any_store):
    job = a_job(any_store, questions=[a_question(row="a"), a_question(row="b", earlier=(SAID,))])
    for slot, reply in enumerate(
        (Reply("four", finish_reason="length"), Reply(None, "refused: no"))
    ):
        start = a_start(job, ix=1, slot=slot)
        any_store.attempt_writer.admit(start).result(30)
        any_store.attempt_writer.settle(a_finish(start, reply=reply)).result(30)
    return job


@pytest.mark.parametrize("status", ["open", "answered", "cancelled"])
def test_an_item_of_any_status_has_its_question_and_its_replies(any_store, job, status):
    if status == "answered":
        any_store.items.finish(job.id, [(0, Answer("four", "0.0.0")), (1, Answer("four", "0.0.0"))])
    elif status == "cancelled":
        any_store.items.cancel_job(job.id)

    question, replies = any_store.item_results.question_and_replies(job.id, 1)

    assert any_store.item_results.get(job.id, "b").status == status
    assert question == a_question(row="b", earlier=(SAID,))
    assert replies == {
        CallKey(0, 0, 0, 0): Reply("four", finish_reason="length"),
        CallKey(0, 0, 1, 0): Reply(None, "refused: no"),
    }
    assert any_store.item_results.question_and_replies(job.id, 0) == (a_question(row="a"), {})


def test_stored_replies_are_the_input_of_the_plan(any_store, job):
    _, open_item = any_store.items.open_in_shard(job.id, 0)

    on_record = any_store.item_results.question_and_replies(job.id, 1)

    assert on_record == (open_item.question, open_item.replies)


def test_a_rejected_row_has_an_empty_question(any_store):
    job = a_job(any_store, questions=[Question("a", ())])

    assert any_store.item_results.question_and_replies(job.id, 0) == (Question("a", ()), {})


def test_a_call_has_its_finish_reason(any_store, job):
    cut, failed = any_store.item_results.calls(job.id, 1)

    assert (cut.finish_reason, failed.finish_reason) == ("length", None)
