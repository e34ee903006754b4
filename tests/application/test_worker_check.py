"""A job that a broker carries and nobody works on."""

import time

import pytest

from archon_batch.application import worker_check
from archon_batch.cli.progress import wait_for_job
from tests.builders import a_job


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(worker_check, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(worker_check, "_CHECK_SECONDS", 0.0)


def carried(store, via="broker"):
    job = a_job(store)
    store.shard_cursors.start(job.id, 1, via, "joins")
    return job


def looked(store, job, capsys):
    watch = worker_check.WorkerCheck(store, [job])

    def look():
        watch.run_if_due()
        return capsys.readouterr().err.strip().partition(":")[0]

    return look


@pytest.mark.usefixtures("at_once")
def test_it_is_said_once_and_again_when_it_is_so_again(store, capsys):
    look = looked(store, carried(store), capsys)

    assert (look(), look()) == ("no worker drains calls, joins", "")
    store.workers.register("joins-1@a", {"joins"})
    assert (look(), look()) == ("no worker drains calls", "")
    store.workers.register("calls-1@a", {"calls"})
    assert look() == ""
    store.workers.deregister("joins-1@a")
    assert look() == "no worker drains joins"


@pytest.mark.usefixtures("at_once")
def test_calls_that_have_a_queue_of_their_own_need_no_other(store, capsys):
    look = looked(store, carried(store), capsys)
    store.workers.register("own@a", {"joins", "calls.scripted"})

    assert look() == ""


@pytest.mark.usefixtures("at_once")
def test_a_command_that_runs_the_job_itself_is_no_broker(store, capsys):
    assert looked(store, carried(store, "here:1:1"), capsys)() == ""


def test_a_worker_may_take_a_moment_to_come(store, capsys):
    assert looked(store, carried(store), capsys)() == ""


def test_it_is_looked_for_while_a_job_is_followed(store):
    job, looks = carried(store), []

    def look():
        looks.append(time.monotonic())
        store.jobs.change_state(job.id, "done", from_states=["running"])

    wait_for_job(store, job, look)

    assert len(looks) == 1
