"""The follower: it notices the end of a job soon, however long a look may take, and ends nothing."""

import os
import signal
import threading
from itertools import pairwise

import pytest

from archon_batch.application.run import run_job
from archon_batch.cli import progress
from archon_batch.jobs import views
from archon_batch.settings import Settings
from tests.builders import a_job


class Clock:
    """Time that passes in sleeps and in looks that add a job up, and nowhere else."""

    def __init__(self, look: float):
        self.now = 1000.0
        self.looks: list[float] = []
        self._look = look

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def status(self, store, job):
        del store
        self.looks.append(self.now)
        self.now += self._look
        tokens = dict.fromkeys(("open", "calls", "prompt_tokens", "completion_tokens"), 0)
        return {"state": job.state, "usd": 0.0, "unpriced_calls": 0, **tokens}


@pytest.mark.parametrize("look", [0.001, 0.05, 40.0])
def test_a_follower_notices_the_end_within_a_second_though_a_look_took_long(
    store, monkeypatch, look
):
    clock, job = Clock(look), a_job(store)
    ends = 1000.0 + 100
    get = store.jobs.get

    def got(job_id):
        if clock.now >= ends:
            store.jobs.change_state(job_id, "done", from_states=["running"])
        return get(job_id)

    monkeypatch.setattr(store.jobs, "get", got)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(views, "status", clock.status)

    progress.wait_for_job(store, job)

    # The last look adds up the job that has ended.
    assert clock.looks[-1] - ends <= max(1.0, look)
    # Of the time before, those of a job that takes long are a small share, or half a minute apart.
    pauses = [after - before - look for before, after in pairwise(clock.looks[:-1])]
    assert all(min(30, 50 * look) <= pause + 1e-6 for pause in pauses)


@pytest.fixture
def with_workers(store, monkeypatch):
    """Settings of a job that workers would make, and nobody who sends for it."""
    monkeypatch.setattr("archon_batch.engine.start_job.start", lambda *_: None)
    url = store.database.engine.url.render_as_string()
    return Settings(broker_url="redis://127.0.0.1:1/0", database_url=url)


def test_ctrl_c_ends_the_watching_and_not_the_job(store, with_workers):
    job = a_job(store)
    pressed = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    pressed.start()

    with pytest.raises(KeyboardInterrupt):
        run_job(with_workers, job, wait=True)
    pressed.join()

    assert store.jobs.get(job.id).state == "running"


def test_who_does_not_wait_is_told_where_to_look_and_that_nobody_works(store, with_workers, capsys):
    job = a_job(store)

    assert run_job(with_workers, job, wait=False) == 0

    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("no worker drains calls, joins: ")
    assert told.endswith(f"archon-batch status {job.id} --follow")
