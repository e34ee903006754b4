"""The check whether workers consume the queues of a job that a broker carries."""

import pytest

from archon_batch.application import worker_check
from archon_batch.application.events import Event, NoWorkers
from tests.builders import a_job


@pytest.fixture
def _no_grace(monkeypatch):
    monkeypatch.setattr(worker_check, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(worker_check, "_CHECK_SECONDS", 0.0)


def queues_reported(store, carrier="broker"):
    """A function that checks a new job, and returns the queues that the check reports, or None."""
    job = a_job(store)
    reported: list[Event] = []
    store.shard_cursors.start(job.id, 1, carrier, "joins")
    check = worker_check.WorkerCheck(store, [job], reported.append)

    def run_check():
        reported.clear()
        check.run_if_due()
        return [event.queues for event in reported if isinstance(event, NoWorkers)]

    return run_check


@pytest.mark.usefixtures("_no_grace")
def test_unconsumed_queues_are_reported_once_and_again_when_they_change(store):
    check = queues_reported(store)

    assert (check(), check()) == ([["calls", "joins"]], [])
    store.workers.register("joins-1@a", {"joins"})
    assert (check(), check()) == ([["calls"]], [])
    store.workers.register("calls-1@a", {"calls"})
    assert check() == []
    store.workers.deregister("joins-1@a")
    assert check() == [["joins"]]


@pytest.mark.usefixtures("_no_grace")
def test_calls_with_a_queue_of_their_own_need_no_other_queue(store):
    check = queues_reported(store)
    store.workers.register("own@a", {"joins", "calls.scripted"})

    assert check() == []


@pytest.mark.usefixtures("_no_grace")
def test_a_job_that_a_command_runs_itself_needs_no_worker(store):
    assert queues_reported(store, "here:1:1")() == []


def test_a_worker_may_take_some_seconds_to_register(store):
    assert queues_reported(store)() == []
