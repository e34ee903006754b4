"""Runs a job: in this process without a broker, otherwise by handing it to the workers."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from archon_batch.application.events import (
    JobEnded,
    JobHandedOver,
    JobProgressed,
    NoWorkers,
    Report,
    StopRequested,
    ignore,
)
from archon_batch.application.open_store import open_store
from archon_batch.application.worker_check import WorkerCheck, unconsumed_queues
from archon_batch.errors import ArchonBatchError
from archon_batch.jobs import views
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, retry_while_unavailable

if TYPE_CHECKING:
    from archon_batch.engine.runtime import Runtime

#: Seconds between checks whether the job still runs, which are cheap.
_POLL_SECONDS = 0.25
#: The pause after computing a job's figures, as a multiple of the time that it took, and the
#: maximum in seconds: one computation that waited for a lock says nothing about the next.
_PAUSE_FACTOR, _MAX_PAUSE_SECONDS = 50, 30.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended for its caller."""

    job_id: str
    #: done, paused, stopped or cancelled: the job's own; interrupted: by the user, resumable;
    #: handed_over: workers run it; stored: nobody runs it yet.
    state: str
    failed_rows: int = 0


class UnfinishedJobError(ArchonBatchError):
    """A use case needs a job that is done, and the run ended before."""

    def __init__(self, job: Job, result: RunResult) -> None:
        super().__init__(job, result)
        self.job, self.result = job, result

    def __str__(self) -> str:
        return f"job {self.job.id} is {self.job.state}"


def run_job(settings: Settings, job: Job, *, wait: bool, report: Report = ignore) -> RunResult:
    """Start the job, and wait for its end if it runs in this process or ``wait`` says so.

    A KeyboardInterrupt stops a job that runs in this process: no further call is sent, and calls
    in flight are awaited.

    Raises:
        StoreError: the database was unavailable for too long.
        BrokerError: the broker is out of reach.
    """
    if settings.in_process:
        return _run_in_process(settings, job, report)
    # Celery takes a third of a second to import.
    from archon_batch.engine.start_job import start_job  # noqa: PLC0415

    with open_store(settings, spool=True) as store:
        start_job(store, job)
        if wait:
            return follow_job(store, job, report)
        if queues := unconsumed_queues(store, [job]):
            report(NoWorkers(queues))
    report(JobHandedOver(job))
    return RunResult(job.id, "handed_over")


def follow_job(store: Store, job: Job, report: Report = ignore) -> RunResult:
    """Wait until the job no longer runs, wherever it runs."""
    wait_for_job(store, job, report, WorkerCheck(store, [job], report).run_if_due)
    return _ended(job, _figures(store, job), report)


def wait_for_job(
    store: Store,
    job: Job,
    report: Report = ignore,
    on_poll: Callable[[], None] = lambda: None,
    pause: Callable[[float], object] | None = None,
) -> None:
    """Report the job's progress until it no longer runs; wait while the database is unavailable.

    ``on_poll`` is called after each check that finds the job running, then ``pause`` with seconds.
    """
    due = 0.0
    while True:
        current = retry_while_unavailable(partial(store.jobs.get, job.id))
        runs, began = current.state == "running", time.monotonic()
        if not runs or began >= due:
            figures = retry_while_unavailable(partial(views.job_status, store, current))
            report(JobProgressed(job, figures))
            # Computing the figures reads the whole job; its share of the time must stay small.
            due = time.monotonic() + min(
                _MAX_PAUSE_SECONDS, _PAUSE_FACTOR * (time.monotonic() - began)
            )
        if not runs:
            return
        on_poll()
        (pause or time.sleep)(_POLL_SECONDS)


def raise_store_error(runtime: "Runtime") -> None:
    """Raise if the runtime could not store a result: no later one would be stored either.

    Raises:
        StoreError: the first error of the database.
    """
    if runtime.store_error is not None:
        raise runtime.store_error


def _run_in_process(settings: Settings, job: Job, report: Report) -> RunResult:
    from archon_batch.engine.child_processes import (  # noqa: PLC0415
        ChildProcesses,
        in_flight_share,
        process_count,
    )
    from archon_batch.engine.in_process import in_process_workers  # noqa: PLC0415
    from archon_batch.engine.runtime import Runtime  # noqa: PLC0415
    from archon_batch.engine.start_job import finish_rows, start_job  # noqa: PLC0415

    processes = process_count(settings, job)
    in_flight = in_flight_share(settings, processes)
    runtime = Runtime(replace(settings, max_in_flight=in_flight))
    store_lost = threading.Event()
    runtime.on_store_lost = store_lost.set

    def pause(seconds: float) -> None:
        if store_lost.wait(seconds):
            raise_store_error(runtime)

    try:
        interrupted = False
        with (
            closing(ChildProcesses(runtime, job, processes, in_flight)) as children,
            in_process_workers(runtime),
        ):
            start_job(runtime.store, job, processes)
            children.start()
            try:
                wait_for_job(runtime.store, job, report, pause=pause)
            except KeyboardInterrupt:
                children.stop()
                raise_store_error(runtime)
                interrupted = True
                report(StopRequested())
        # All calls have finished: finalise rows whose replies are complete.
        retry_while_unavailable(lambda: finish_rows(runtime.store, runtime.job(job.id)))
        return _ended(job, _figures(runtime.store, job), report, interrupted=interrupted)
    finally:
        runtime.close()


def _figures(store: Store, job: Job) -> dict[str, Any]:
    return retry_while_unavailable(lambda: views.job_status(store, store.jobs.get(job.id)))


def _ended(
    job: Job, figures: Mapping[str, Any], report: Report, *, interrupted: bool = False
) -> RunResult:
    interrupted = interrupted and figures["state"] != "done"
    report(JobEnded(job, figures, interrupted))
    state = "interrupted" if interrupted else figures["state"]
    return RunResult(job.id, state, figures["failed"])
