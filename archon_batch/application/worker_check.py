"""Says that nobody works on a job which a broker carries."""

import time
from collections.abc import Sequence
from contextlib import suppress

from archon_batch.cli.tables import stderr
from archon_batch.errors import StoreError
from archon_batch.store import Job, Store

#: Seconds that a worker may take until it is on record, and between looks.
_GRACE_SECONDS, _CHECK_SECONDS = 10.0, 5.0


def unconsumed_queues(store: Store, jobs: Sequence[Job]) -> list[str]:
    """The queues that the jobs need and no living worker drains."""
    drained = store.workers.consumed_queues()
    models = {model for job in jobs for model in job.prices}
    own = [{f"calls.{model}", f"calls.{model.partition('/')[0]}"} for model in models]
    # A model's calls go to a queue of its own, or of its provider's, while that is drained.
    needed = {"joins"} if own and all(queues & drained for queues in own) else {"calls", "joins"}
    return sorted(needed - drained)


def no_worker_message(queues: Sequence[str]) -> str:
    return f"no worker drains {', '.join(queues)}: archon-batch worker POOL starts some"


class WorkerCheck:
    """Looks now and then; says it once, and again when it has become so again."""

    def __init__(self, store: Store, jobs: Sequence[Job]) -> None:
        self._store, self._jobs = store, jobs
        self._next = time.monotonic() + _GRACE_SECONDS
        self._reported: list[str] = []

    def run_if_due(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _CHECK_SECONDS
        # The look at the job itself tells of a database that is away.
        with suppress(StoreError):
            carried = self._store.shard_cursors.counts_by_job("broker")
            jobs = [job for job in self._jobs if job.id in carried]
            found = unconsumed_queues(self._store, jobs) if jobs else []
            if found and found != self._reported:
                stderr.print(no_worker_message(found), style="bold")
            self._reported = found
