"""The crew: further processes of a command, each with a share of the job's lines.

Each is a whole embedded engine; they meet in the ledger only. A member that dies is an ordinary
death: its attempts are found in doubt, and the command takes up its lines. When the command dies,
its end of the pipe closes, and the members let their calls land and go.
"""

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from types import FrameType

import structlog

from archon_batch import logs
from archon_batch.engine import sighup
from archon_batch.engine.app import settings as set_up
from archon_batch.engine.broker import carrier
from archon_batch.engine.in_process import embedded
from archon_batch.engine.runtime import Process
from archon_batch.engine.start_job import join, take_up
from archon_batch.settings import Settings
from archon_batch.store import Job, patiently

#: Rows for which a further process is worth its second of imports.
_ROWS = 500
#: Seconds between a member's looks at the job.
_LOOK = 0.5

_log = structlog.get_logger()


def size(settings: Settings, job: Job) -> int:
    """How many processes the job gets: as many as were asked for, or as its rows and cores are.

    One, where calls are answered on this machine: a second would serve the model twice.
    """
    if settings.processes:
        return min(settings.processes, job.width)
    if any(model.startswith("local/") for model in job.prices):
        return 1
    return max(1, min(_cores(), job.rows // _ROWS, job.width))


class Crew:
    """Members 1, 2, ... of a command that is member 0 itself."""

    def __init__(self, here: Process, job: Job, of: int, in_flight: int) -> None:
        self._here, self._job, self._of = here, job, of
        self._environment = {**os.environ, "ARCHON_BATCH_MAX_IN_FLIGHT": str(in_flight)}
        self._dismissed = False
        self._members: list[subprocess.Popen[bytes]] = []
        self._watching: list[threading.Thread] = []

    def begin(self) -> None:
        """Start the members, once the job's own lines have begun: theirs join them."""
        line = [
            sys.executable,
            "-m",
            "archon_batch.engine.child_processes",
            self._job.id,
            str(self._of),
        ]
        for part in range(1, self._of):
            member = subprocess.Popen(line, stdin=subprocess.PIPE, env=self._environment)  # noqa: S603
            thread = threading.Thread(target=self._watch, args=(part, member), daemon=True)
            thread.start()
            self._members.append(member)
            self._watching.append(thread)

    def dismiss(self) -> None:
        """Have all begin nothing more; their calls in flight land."""
        self._dismissed = True
        for member in self._members:
            if member.stdin is not None:
                member.stdin.close()

    def close(self) -> None:
        """Wait until all have gone."""
        self.dismiss()
        for thread in self._watching:
            thread.join()

    def _watch(self, part: int, member: "subprocess.Popen[bytes]") -> None:
        """See a member to its end; take up its lines if it was a bad one."""
        if member.wait() == 0 or self._dismissed:
            return
        _log.warning("process_died", part=part, of=self._of, status=member.returncode)
        try:
            take_up(self._here.store, self._job)
        except Exception:  # noqa: BLE001  (resume takes them up)
            _log.exception("lines_left", job=self._job.id, part=part)


def share(settings: Settings, of: int) -> int:
    """The calls in flight of one of so many processes: together they have what one would have."""
    return max(1, settings.max_in_flight // of)


def work(job_id: str, of: int) -> int:
    """Be a member: run a share of the job's lines; return the exit status."""
    dismissed = threading.Event()
    _heed(dismissed)
    logs.configure(set_up.log, set_up.log_format)
    threading.Thread(target=_hear, args=(dismissed,), daemon=True).start()
    here = Process(set_up)
    here.when_away = dismissed.set
    try:
        job = here.store.jobs.get(job_id)
        with embedded(here):
            join(here.store, job, of)
            while not dismissed.wait(_LOOK):
                # Until the job halts, or no line is left that this process carries.
                if job_id not in patiently(partial(here.store.lines.widths, carrier())):
                    break
    finally:
        here.close()
    return 0 if here.away is None else 3


def _hear(dismissed: threading.Event) -> None:
    """Wait until the command says so, or dies, by closing its end of the pipe."""
    # Not through a buffer, whose lock a thread that waits would keep beyond the end.
    while os.read(0, 1):
        pass
    dismissed.set()


def _heed(dismissed: threading.Event) -> None:
    """Let the command decide about the first Ctrl-C, and the second end this process at once."""
    asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True
        if number == signal.SIGTERM:
            dismissed.set()

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    sighup.heed(lambda *_: dismissed.set())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(work(sys.argv[1], int(sys.argv[2])))
