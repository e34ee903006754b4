"""Child processes of a command; each runs a share of the job's shard cursors.

A child is a whole in-process engine and shares only the database with its parent. When a child
dies, its attempts become in doubt and the parent takes over its cursors. When the parent dies, its
end of the pipe closes; the children finish their calls in flight and exit.
"""

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import structlog

from archon_batch import logs
from archon_batch.engine import stop_signals
from archon_batch.engine.app import settings as process_settings
from archon_batch.engine.broker import carrier
from archon_batch.engine.in_process import in_process_workers
from archon_batch.engine.runtime import Runtime
from archon_batch.engine.start_job import add_cursors, take_over_cursors
from archon_batch.settings import Settings
from archon_batch.store import Job, retry_while_unavailable

#: Rows that are worth one more process, whose imports take a second.
_ROWS_PER_PROCESS = 500
#: Seconds between a child's checks of the job.
_POLL_INTERVAL = 0.5

_log = structlog.get_logger()


def process_count(settings: Settings, job: Job) -> int:
    """Processes for the job: as many as the settings say, or as its rows and the cores allow.

    One, if a model runs on this machine: a second process would load the model twice.
    """
    if settings.processes:
        return min(settings.processes, job.concurrent_shards)
    if any(model.startswith("local/") for model in job.prices):
        return 1
    return max(1, min(_cores(), job.rows // _ROWS_PER_PROCESS, job.concurrent_shards))


class ChildProcesses:
    """Children 1, 2, ... of a command, which itself is process 0."""

    def __init__(self, runtime: Runtime, job: Job, processes: int, in_flight: int) -> None:
        self._runtime, self._job, self._processes = runtime, job, processes
        self._environment = {**os.environ, "ARCHON_BATCH_MAX_IN_FLIGHT": str(in_flight)}
        self._stopping = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._watchers: list[threading.Thread] = []

    def start(self) -> None:
        """Start the children. The job's own cursors must exist: the children add to them."""
        command = [
            sys.executable, "-m", "archon_batch.engine.child_processes",
            self._job.id, str(self._processes),
        ]  # fmt: skip
        for number in range(1, self._processes):
            child = subprocess.Popen(command, stdin=subprocess.PIPE, env=self._environment)  # noqa: S603
            thread = threading.Thread(target=self._watch, args=(number, child), daemon=True)
            thread.start()
            self._children.append(child)
            self._watchers.append(thread)

    def stop(self) -> None:
        """Ask all children to start no more calls; their calls in flight finish."""
        self._stopping = True
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()

    def close(self) -> None:
        """Stop all children, and wait until they have exited."""
        self.stop()
        for thread in self._watchers:
            thread.join()

    def _watch(self, number: int, child: "subprocess.Popen[bytes]") -> None:
        """Wait for a child; if it failed, take over its cursors."""
        if child.wait() == 0 or self._stopping:
            return
        _log.warning("process_died", number=number, of=self._processes, status=child.returncode)
        try:
            take_over_cursors(self._runtime.store, self._job)
        except Exception:  # noqa: BLE001  (`resume` takes them over)
            _log.exception("cursors_not_taken_over", job=self._job.id, number=number)


def in_flight_share(settings: Settings, processes: int) -> int:
    """Calls in flight of each process; together they have what one process would have."""
    return max(1, settings.max_in_flight // processes)


def run_child(job_id: str, processes: int) -> int:
    """Run a share of the job's cursors as a child process; return the exit status."""
    stopping = threading.Event()
    _stop_on_signals(stopping)
    logs.configure(process_settings.log_level, process_settings.log_format)
    threading.Thread(target=_wait_for_parent, args=(stopping,), daemon=True).start()
    runtime = Runtime(process_settings)
    runtime.on_store_lost = stopping.set
    try:
        job = runtime.store.jobs.get(job_id)
        with in_process_workers(runtime):
            add_cursors(runtime.store, job, processes)
            while not stopping.wait(_POLL_INTERVAL):
                # Until the job halts, or this process carries none of its cursors.
                if job_id not in retry_while_unavailable(
                    partial(runtime.store.shard_cursors.counts_by_job, carrier())
                ):
                    break
    finally:
        runtime.close()
    return 0 if runtime.store_error is None else 3


def _wait_for_parent(stopping: threading.Event) -> None:
    """Stop when the parent closes its end of the pipe, or dies."""
    # Unbuffered: a waiting thread would hold the buffer's lock beyond the exit.
    while os.read(0, 1):
        pass
    stopping.set()


def _stop_on_signals(stopping: threading.Event) -> None:
    """Stop on SIGTERM or SIGHUP. SIGINT reaches the parent too, which decides."""

    def stop(number: int) -> None:
        if number != signal.SIGINT:
            stopping.set()

    stop_signals.on_stop_signal(stop)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1], int(sys.argv[2])))
