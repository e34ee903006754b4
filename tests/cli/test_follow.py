"""The follower: it notices the end of a job soon, however long a look may take."""

from itertools import pairwise

import pytest

from archon_batch import report
from archon_batch.cli import follow
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
            store.jobs.move(job_id, "done", only_from=["running"])
        return get(job_id)

    monkeypatch.setattr(store.jobs, "get", got)
    monkeypatch.setattr(follow, "time", clock)
    monkeypatch.setattr(report, "status", clock.status)

    follow.watch(store, job)

    # The last look adds up the job that has ended.
    assert clock.looks[-1] - ends <= max(1.0, look)
    # Of the time before, those of a job that takes long are a small share, or half a minute apart.
    pauses = [after - before - look for before, after in pairwise(clock.looks[:-1])]
    assert all(min(30, 50 * look) <= pause + 1e-6 for pause in pauses)
