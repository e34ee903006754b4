"""Running a job: a follower notices its end soon, and neither Ctrl-C nor a handover ends it."""

import os
import signal
import threading
from itertools import pairwise

import pytest

from archon_batch.application import events, run
from archon_batch.jobs import views
from archon_batch.settings import Settings
from tests.builders import a_job


class Clock:
    """A clock that advances only while someone sleeps or computes a job's figures."""

    def __init__(self, seconds: float):
        self.now = 1000.0
        self.computed: list[float] = []
        self._seconds = seconds

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def job_status(self, store, job):
        del store
        self.computed.append(self.now)
        self.now += self._seconds
        return {"state": job.state}


@pytest.mark.parametrize("seconds", [0.001, 0.05, 40.0])
def test_a_follower_notices_the_end_within_a_second_however_long_the_figures_take(
    store, monkeypatch, seconds
):
    clock, job = Clock(seconds), a_job(store)
    end = 1000.0 + 100
    get = store.jobs.get

    def ended_get(job_id):
        if clock.now >= end:
            store.jobs.change_state(job_id, "done", from_states=["running"])
        return get(job_id)

    monkeypatch.setattr(store.jobs, "get", ended_get)
    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(views, "job_status", clock.job_status)

    run.wait_for_job(store, job)

    # The last figures are those of the ended job.
    assert clock.computed[-1] - end <= max(1.0, seconds)
    # Before, computing them takes a small share of the time, or they are half a minute apart.
    pauses = [after - before - seconds for before, after in pairwise(clock.computed[:-1])]
    assert all(min(30, 50 * seconds) <= pause + 1e-6 for pause in pauses)


def test_each_check_of_a_running_job_calls_the_hook(store):
    job, calls = a_job(store), []

    def end_job():
        calls.append(1)
        store.jobs.change_state(job.id, "done", from_states=["running"])

    run.wait_for_job(store, job, on_poll=end_job)

    assert len(calls) == 1


@pytest.fixture
def broker_settings(store, monkeypatch):
    """Settings of a job that workers would run, with a broker that takes no message."""
    monkeypatch.setattr("archon_batch.engine.start_job.start_job", lambda *_: None)
    url = store.database.engine.url.render_as_string()
    return Settings(broker_url="redis://127.0.0.1:1/0", database_url=url)


def test_ctrl_c_ends_the_following_but_not_the_job(store, broker_settings):
    job = a_job(store)
    pressed = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    pressed.start()

    with pytest.raises(KeyboardInterrupt):
        run.run_job(broker_settings, job, wait=True)
    pressed.join()

    assert store.jobs.get(job.id).state == "running"


def test_a_handover_reports_that_no_worker_is_there(store, broker_settings):
    job = a_job(store)
    reported: list[events.Event] = []

    result = run.run_job(broker_settings, job, wait=False, report=reported.append)

    assert result == run.RunResult(job.id, "handed_over")
    assert reported == [events.NoWorkers(["calls", "joins"]), events.JobHandedOver(job)]


def test_a_followed_job_reports_its_progress_and_its_end(store, broker_settings):
    job = a_job(store)
    reported: list[events.Event] = []
    store.jobs.change_state(job.id, "stopped", from_states=["running"], reason="no key")

    result = run.run_job(broker_settings, job, wait=True, report=reported.append)

    assert result == run.RunResult(job.id, "stopped")
    progressed, ended = reported
    assert isinstance(progressed, events.JobProgressed)
    assert isinstance(ended, events.JobEnded)
    assert (ended.figures["state"], ended.figures["reason"]) == ("stopped", "no key")
