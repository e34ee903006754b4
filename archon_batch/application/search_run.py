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
from archon_batch.config import component_kinds
from archon_batch.jobs.frozen_job import running
from archon_batch.search.trial_jobs import Run
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, patiently

if TYPE_CHECKING:
    from archon_batch.engine.runtime import Process

#: Seconds between looks at the jobs.
_LOOK = 0.1


@contextmanager
def conducted(settings: Settings) -> Iterator[tuple[Store, Run]]:
    """The store, and what sees jobs through in it while the body runs."""
    if settings.embedded:
        with interruptible(), _embedded(settings) as here:
            yield here.store, partial(_run, here.store, here)
        return
    with interruptible(), options.store(settings) as store:
        yield store, partial(_run, store, None)


@contextmanager
def _embedded(settings: Settings) -> Iterator["Process"]:
    # Celery takes a third of a second to import.
    from archon_batch.engine.in_process import embedded  # noqa: PLC0415
    from archon_batch.engine.runtime import Process  # noqa: PLC0415

    here = Process(settings)
    # It ends like a command that is interrupted: nobody would see that nothing comes on record.
    here.when_away = partial(os.kill, os.getpid(), signal.SIGINT)
    try:
        with embedded(here):
            yield here
    finally:
        here.close()


def _run(store: Store, here: "Process | None", jobs: Sequence[Job]) -> bool:
    """See the jobs through: by this process, or by whoever drains the queues."""
    from archon_batch.engine.start_job import conclude_rows, start  # noqa: PLC0415

    try:
        for job in jobs:
            start(store, job)
        _watch(store, jobs)
    except KeyboardInterrupt:
        if here is not None and here.away is not None:
            raise here.away from None
        return False
    for job in jobs:
        # Of a job that its budget halted, too, what has all its replies is answered.
        if store.jobs.get(job.id).state != "done":
            conclude_rows(store, running(job, component_kinds()))
    return True


def _watch(store: Store, jobs: Sequence[Job]) -> None:
    """Wait until none of them runs, nor has a call in flight."""
    waiting = list(jobs)
    watch = worker_check.Watch(store, jobs)
    while waiting:
        found = [patiently(partial(store.jobs.get, job.id)) for job in waiting]
        waiting = [job for job in found if job.state == "running" or job.reserved]
        if waiting:
            watch.look()
            time.sleep(_LOOK)
