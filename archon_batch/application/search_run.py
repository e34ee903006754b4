"""Runs the jobs of a search: here, or by the workers."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from archon_batch.application import worker_check
from archon_batch.application.run import interruptible
from archon_batch.cli import options
from archon_batch.config import component_types
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.search.trial_jobs import RunJobs
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, retry_while_unavailable

if TYPE_CHECKING:
    from archon_batch.engine.runtime import Runtime

#: Seconds between looks at the jobs.
_POLL_SECONDS = 0.1


@contextmanager
def open_job_runner(settings: Settings) -> Iterator[tuple[Store, RunJobs]]:
    """The store, and what sees jobs through in it while the body runs."""
    if settings.in_process:
        with interruptible(), _open_runtime(settings) as here:
            yield here.store, partial(_run_jobs, here.store, here)
        return
    with interruptible(), options.open_store(settings) as store:
        yield store, partial(_run_jobs, store, None)


@contextmanager
def _open_runtime(settings: Settings) -> Iterator["Runtime"]:
    # Celery takes a third of a second to import.
    from archon_batch.engine.in_process import in_process_workers  # noqa: PLC0415
    from archon_batch.engine.runtime import Runtime  # noqa: PLC0415

    here = Runtime(settings)
    # It ends like a command that is interrupted: nobody would see that nothing comes on record.
    here.on_store_lost = partial(os.kill, os.getpid(), signal.SIGINT)
    try:
        with in_process_workers(here):
            yield here
    finally:
        here.close()


def _run_jobs(store: Store, runtime: "Runtime | None", jobs: Sequence[Job]) -> bool:
    """See the jobs through: by this process, or by whoever drains the queues."""
    from archon_batch.engine.start_job import finish_rows, start_job  # noqa: PLC0415

    try:
        for job in jobs:
            start_job(store, job)
        _wait_for_jobs(store, jobs)
    except KeyboardInterrupt:
        if runtime is not None and runtime.store_error is not None:
            raise runtime.store_error from None
        return False
    for job in jobs:
        # Of a job that its budget halted, too, what has all its replies is answered.
        if store.jobs.get(job.id).state != "done":
            finish_rows(store, load_frozen_job(job, component_types()))
    return True


def _wait_for_jobs(store: Store, jobs: Sequence[Job]) -> None:
    """Wait until none of them runs, nor has a call in flight."""
    waiting = list(jobs)
    watch = worker_check.WorkerCheck(store, jobs)
    while waiting:
        found = [retry_while_unavailable(partial(store.jobs.get, job.id)) for job in waiting]
        waiting = [job for job in found if job.state == "running" or job.held]
        if waiting:
            watch.run_if_due()
            time.sleep(_POLL_SECONDS)
