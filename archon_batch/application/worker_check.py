"""Reports that no worker consumes the queues of a job that a broker carries."""

import time
from collections.abc import Sequence
from contextlib import suppress

from archon_batch.application.events import NoWorkers, Report
from archon_batch.errors import StoreError
from archon_batch.store import Job, Store

#: Seconds that a worker may take to register, and seconds between checks.
_GRACE_SECONDS, _CHECK_SECONDS = 10.0, 5.0


def unconsumed_queues(store: Store, jobs: Sequence[Job]) -> list[str]:
    """The queues that the jobs need and no live worker consumes."""
    consumed = store.workers.consumed_queues()
    models = {model for job in jobs for model in job.prices}
    own = [{f"calls.{model}", f"calls.{model.partition('/')[0]}"} for model in models]
    # A model's calls go to its own queue, or its provider's, while a worker consumes that queue.
    needed = {"joins"} if own and all(queues & consumed for queues in own) else {"calls", "joins"}
    return sorted(needed - consumed)


class WorkerCheck:
    """Reports unconsumed queues once, and again whenever they change."""

    def __init__(self, store: Store, jobs: Sequence[Job], report: Report) -> None:
        self._store, self._jobs, self._report = store, jobs, report
        self._next = time.monotonic() + _GRACE_SECONDS
        self._reported: list[str] = []

    def run_if_due(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _CHECK_SECONDS
        # The caller's own query reports a database that is unavailable.
        with suppress(StoreError):
            carried = self._store.shard_cursors.counts_by_job("broker")
            jobs = [job for job in self._jobs if job.id in carried]
            queues = unconsumed_queues(self._store, jobs) if jobs else []
            if queues and queues != self._reported:
                self._report(NoWorkers(queues))
            self._reported = queues
