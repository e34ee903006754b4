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
from archon_batch.engine.in_process import in_process_workers
from archon_batch.engine.runtime import Runtime
from archon_batch.engine.start_job import add_cursors, take_over_cursors
from archon_batch.settings import Settings
from archon_batch.store import Job, retry_while_unavailable

#: Rows for which a further process is worth its second of imports.
_ROWS_PER_PROCESS = 500
#: Seconds between a member's looks at the job.
_POLL_INTERVAL = 0.5

_log = structlog.get_logger()


def process_count(settings: Settings, job: Job) -> int:
    """How many processes the job gets: as many as were asked for, or as its rows and cores are.

    One, where calls are answered on this machine: a second would serve the model twice.
    """
    if settings.processes:
        return min(settings.processes, job.concurrent_shards)
    if any(model.startswith("local/") for model in job.prices):
        return 1
    return max(1, min(_cores(), job.rows // _ROWS_PER_PROCESS, job.concurrent_shards))


class ChildProcesses:
    """Members 1, 2, ... of a command that is member 0 itself."""

    def __init__(self, runtime: Runtime, job: Job, processes: int, in_flight: int) -> None:
        self._runtime, self._job, self._processes = runtime, job, processes
        self._environment = {**os.environ, "ARCHON_BATCH_MAX_IN_FLIGHT": str(in_flight)}
        self._stopping = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._watchers: list[threading.Thread] = []

    def start(self) -> None:
        """Start the members, once the job's own lines have begun: theirs join them."""
        line = [
            sys.executable,
            "-m",
            "archon_batch.engine.child_processes",
            self._job.id,
            str(self._processes),
        ]
        for part in range(1, self._processes):
            member = subprocess.Popen(line, stdin=subprocess.PIPE, env=self._environment)  # noqa: S603
            thread = threading.Thread(target=self._watch, args=(part, member), daemon=True)
            thread.start()
            self._children.append(member)
            self._watchers.append(thread)

    def stop(self) -> None:
        """Have all begin nothing more; their calls in flight land."""
        self._stopping = True
        for member in self._children:
            if member.stdin is not None:
                member.stdin.close()

    def close(self) -> None:
        """Wait until all have gone."""
        self.stop()
        for thread in self._watchers:
            thread.join()

    def _watch(self, part: int, child: "subprocess.Popen[bytes]") -> None:
        """See a member to its end; take up its lines if it was a bad one."""
        if child.wait() == 0 or self._stopping:
            return
        _log.warning("process_died", part=part, of=self._processes, status=child.returncode)
        try:
            take_over_cursors(self._runtime.store, self._job)
        except Exception:  # noqa: BLE001  (resume takes them up)
            _log.exception("cursors_not_taken_over", job=self._job.id, part=part)


def in_flight_share(settings: Settings, processes: int) -> int:
    """The calls in flight of one of so many processes: together they have what one would have."""
    return max(1, settings.max_in_flight // processes)


def run_child(job_id: str, processes: int) -> int:
    """Be a member: run a share of the job's lines; return the exit status."""
    dismissed = threading.Event()
    _install_signals(dismissed)
    logs.configure(set_up.log_level, set_up.log_format)
    threading.Thread(target=_wait_for_parent, args=(dismissed,), daemon=True).start()
    here = Runtime(set_up)
    here.on_store_lost = dismissed.set
    try:
        job = here.store.jobs.get(job_id)
        with in_process_workers(here):
            add_cursors(here.store, job, processes)
            while not dismissed.wait(_POLL_INTERVAL):
                # Until the job halts, or no line is left that this process carries.
                if job_id not in retry_while_unavailable(
                    partial(here.store.shard_cursors.counts_by_job, carrier())
                ):
                    break
    finally:
        here.close()
    return 0 if here.store_error is None else 3


def _wait_for_parent(stopping: threading.Event) -> None:
    """Wait until the command says so, or dies, by closing its end of the pipe."""
    # Not through a buffer, whose lock a thread that waits would keep beyond the end.
    while os.read(0, 1):
        pass
    stopping.set()


def _install_signals(stopping: threading.Event) -> None:
    """Let the command decide about the first Ctrl-C, and the second end this process at once."""
    asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True
        if number == signal.SIGTERM:
            stopping.set()

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    sighup.handle_sighup(lambda *_: stopping.set())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1], int(sys.argv[2])))
