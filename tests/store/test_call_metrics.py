"""How long calls took, how attempts ended, what candidates said."""

from datetime import timedelta

import pytest

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.store import AttemptOutcomeCount, CallId
from tests.builders import a_finish, a_job, a_start, in_doubt


def settled(store, job, ix, key, text, *, seconds=1.5, finish=None, **changes):
    start = a_start(
        job, call=CallId(job.id, ix, CallKey(*key)), fingerprint=f"{ix}/{key}", **changes
    )
    begun = store.attempt_writer.admit(start).result(30)
    end = (
        finish(start, begun.attempt_number)
        if finish
        else a_finish(
            start, begun.attempt_number, text, ended_at=start.begun_at + timedelta(seconds=seconds)
        )
    )
    store.attempt_writer.settle(end).result(30)


def refused(start, n):
    return a_finish(
        start,
        n,
        billing=Billing.NOT_BILLED,
        outcome="refused",
        usage=Usage(),
        cost=None,
        reply=Reply(None, failure="refused"),
    )


def test_durations_are_those_of_answered_attempts(any_store) -> None:
    job, other = a_job(any_store, questions=600), a_job(any_store, name="other")
    settled(any_store, job, 0, (0, 0, 0, 0), "a", seconds=0.25)
    settled(any_store, job, 0, (1, 2, 0, 0), "b", seconds=3, kind="critic", model="large")
    settled(any_store, job, 0, (0, 0, 1, 0), None, finish=refused)
    settled(any_store, job, 599, (0, 0, 0, 0), "c", seconds=7)
    settled(any_store, other, 1, (0, 0, 0, 0), "d", seconds=9)

    found = sorted(any_store.call_metrics.durations(job.id))

    assert [place for place, _ in found] == [
        (0, 0, "scripted/plausible"), (0, 0, "scripted/plausible"), (1, 2, "large"),
    ]  # fmt: skip
    assert [took for _, took in found] == pytest.approx([0.25, 7, 3])


def test_a_job_without_attempts_has_no_durations(store) -> None:
    assert list(store.call_metrics.durations(a_job(store).id)) == []


def test_attempts_and_retries_are_counted_by_outcome(any_store) -> None:
    job = a_job(any_store)
    settled(any_store, job, 0, (0, 0, 0, 0), None, finish=in_doubt)
    settled(any_store, job, 0, (0, 0, 0, 0), "at last")
    settled(any_store, job, 1, (0, 0, 0, 0), "at once")
    any_store.attempt_writer.admit(
        a_start(job, 1, call=CallId(job.id, 1, CallKey(0, 1, 0, 0)), model="m")
    ).result(30)

    found = any_store.call_metrics.outcome_counts(job.id)

    assert sorted(found, key=str) == sorted(
        [
            AttemptOutcomeCount(0, 0, "scripted/plausible", "call_timeout", 1, 0),
            AttemptOutcomeCount(0, 0, "scripted/plausible", "ok", 2, 1),
            AttemptOutcomeCount(0, 1, "m", None, 1, 0),
        ],
        key=str,
    )


def test_first_layer_texts_are_the_last_replies_of_its_generators(any_store) -> None:
    job = a_job(any_store, questions=3)
    settled(any_store, job, 0, (0, 1, 0, 0), "b", model="large")
    settled(any_store, job, 0, (0, 0, 10, 0), "c")
    settled(any_store, job, 0, (0, 0, 2, 0), "a?")
    settled(any_store, job, 0, (0, 0, 2, 1), "a")
    settled(any_store, job, 0, (0, 0, 3, 0), None, finish=refused)
    settled(any_store, job, 0, (1, 0, 0, 0), "later", kind="generator")
    settled(any_store, job, 1, (0, 0, 0, 0), "a critique", kind="critic")
    settled(any_store, job, 2, (0, 0, 0, 0), "beyond")

    found = any_store.call_metrics.first_layer_texts(job.id, 0, 1)

    plausible = "scripted/plausible"
    assert found == {0: [(plausible, "a"), (plausible, "c"), ("large", "b")]}
