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
from archon_batch.cli.progress import conclude, follow, watch
from archon_batch.cli.tables import aside, prepare
from archon_batch.engine import sighup
from archon_batch.jobs import views
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, patiently

_INTERRUPTED = 130


def run(settings: Settings, job: Job, *, wait: bool) -> int:
    """See the job to its end, or on its way; return the exit status."""
    prepare()
    # Celery takes a third of a second to import.
    from archon_batch.engine.start_job import start  # noqa: PLC0415

    if settings.embedded:
        return _embedded(settings, job)
    store = Store.open(settings.database_url, Path(settings.spool))
    try:
        start(store, job)
        if wait:
            return follow(store, job)
        if missing := worker_check.undrained(store, [job]):
            aside.print(worker_check.notice(missing), style="bold")
    finally:
        store.close()
    aside.print(f"handed to the workers; archon-batch status {job.id} --follow")
    return 0


def _embedded(settings: Settings, job: Job) -> int:
    from archon_batch.engine.child_processes import Crew, share, size  # noqa: PLC0415
    from archon_batch.engine.in_process import embedded  # noqa: PLC0415
    from archon_batch.engine.runtime import Process  # noqa: PLC0415
    from archon_batch.engine.start_job import conclude_rows, start  # noqa: PLC0415

    processes = size(settings, job)
    in_flight = share(settings, processes)
    here = Process(replace(settings, max_in_flight=in_flight))
    # It ends like a command that is interrupted: nobody would see that nothing comes on record.
    here.when_away = partial(os.kill, os.getpid(), signal.SIGINT)
    try:
        interrupted = False
        with (
            interruptible(),
            closing(Crew(here, job, processes, in_flight)) as crew,
            embedded(here),
        ):
            start(here.store, job, processes)
            crew.begin()
            try:
                watch(here.store, job)
            except KeyboardInterrupt:
                crew.dismiss()
                if here.away is not None:
                    raise here.away from None
                interrupted = True
                aside.print(
                    "stopping: calls in flight land first; Ctrl-C again leaves them in doubt"
                )
        # Only now has everything landed: what has all its replies is answered, and counted.
        patiently(lambda: conclude_rows(here.store, here.job(job.id)))
        figures = patiently(lambda: views.status(here.store, here.store.jobs.get(job.id)))
        if not interrupted or figures["state"] == "done":
            return conclude(figures)
        aside.print(f"interrupted; archon-batch resume {job.id} goes on")
        return conclude({**figures, "state": "interrupted"})
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
        sighup.let_go()
        if asked and number != signal.SIGHUP:
            # What is in flight is on record as sending, and will be found in doubt.
            os._exit(_INTERRUPTED)
        asked = asked or number != signal.SIGHUP
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    undo = sighup.heed(interrupt)
    try:
        yield
    finally:
        undo()
        for number, handler in before.items():
            signal.signal(number, handler)
