"""Runs a job: in this process when no broker is set, else by handing it to the workers."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from archon_batch.application import worker_check
from archon_batch.cli.progress import follow_job, print_summary, wait_for_job
from archon_batch.cli.tables import preload_rich, stderr
from archon_batch.engine import sighup
from archon_batch.jobs import views
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, retry_while_unavailable

_EXIT_INTERRUPTED = 130


def run_job(settings: Settings, job: Job, *, wait: bool) -> int:
    """See the job to its end, or on its way; return the exit status."""
    preload_rich()
    # Celery takes a third of a second to import.
    from archon_batch.engine.start_job import start_job  # noqa: PLC0415

    if settings.in_process:
        return _run_in_process(settings, job)
    store = Store.open(settings.database_url, Path(settings.spool_folder))
    try:
        start_job(store, job)
        if wait:
            return follow_job(store, job)
        if missing := worker_check.unconsumed_queues(store, [job]):
            stderr.print(worker_check.no_worker_message(missing), style="bold")
    finally:
        store.close()
    stderr.print(f"handed to the workers; archon-batch status {job.id} --follow")
    return 0


def _run_in_process(settings: Settings, job: Job) -> int:
    from archon_batch.engine.child_processes import ChildProcesses, in_flight_share, process_count  # noqa: PLC0415
    from archon_batch.engine.in_process import in_process_workers  # noqa: PLC0415
    from archon_batch.engine.runtime import Runtime  # noqa: PLC0415
    from archon_batch.engine.start_job import finish_rows, start_job  # noqa: PLC0415

    processes = process_count(settings, job)
    in_flight = in_flight_share(settings, processes)
    here = Runtime(replace(settings, max_in_flight=in_flight))
    # It ends like a command that is interrupted: nobody would see that nothing comes on record.
    here.on_store_lost = partial(os.kill, os.getpid(), signal.SIGINT)
    try:
        interrupted = False
        with (
            interruptible(),
            closing(ChildProcesses(here, job, processes, in_flight)) as crew,
            in_process_workers(here),
        ):
            start_job(here.store, job, processes)
            crew.start()
            try:
                wait_for_job(here.store, job)
            except KeyboardInterrupt:
                crew.stop()
                if here.store_error is not None:
                    raise here.store_error from None
                interrupted = True
                stderr.print(
                    "stopping: calls in flight land first; Ctrl-C again leaves them in doubt"
                )
        # Only now has everything landed: what has all its replies is answered, and counted.
        retry_while_unavailable(lambda: finish_rows(here.store, here.job(job.id)))
        figures = retry_while_unavailable(
            lambda: views.job_status(here.store, here.store.jobs.get(job.id))
        )
        if not interrupted or figures["state"] == "done":
            return print_summary(figures)
        stderr.print(f"interrupted; archon-batch resume {job.id} goes on")
        return print_summary({**figures, "state": "interrupted"})
    finally:
        here.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM interrupt, and the second end the process at once.

    SIGHUP interrupts too, and comes more than once when a terminal goes away: it ends nothing at once.
    """
    interrupted = asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted, asked
        sighup.detach_terminal()
        if asked and number != signal.SIGHUP:
            # What is in flight is on record as sending, and will be found in doubt.
            os._exit(_EXIT_INTERRUPTED)
        asked = asked or number != signal.SIGHUP
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    undo = sighup.handle_sighup(interrupt)
    try:
        yield
    finally:
        undo()
        for number, handler in before.items():
            signal.signal(number, handler)
