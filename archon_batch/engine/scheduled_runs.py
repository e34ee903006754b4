"""Runs scheduled job files, each as a child process: ``submit --job FILE``."""

import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, timedelta

import structlog

from archon_batch.errors import StoreError
from archon_batch.store import ScheduledRun, Store, now

#: Seconds between checks for abandoned runs; time before a failed export is retried.
_CHECK_INTERVAL, _EXPORT_RETRY = 60, timedelta(minutes=10)

_log = structlog.get_logger()


class ScheduledRunProcesses:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[tuple[str, date], subprocess.Popen[bytes]] = {}
        self._checked_at: float | None = None

    def start(self, file: str, day: date) -> bool:
        """Start the file's run of that day unless it is done or active; return whether it was started."""
        if (file, day) in self._running:
            _log.info("scheduled_run_already_active", file=file, date=str(day))
            return False
        # If the database is unreachable, the child process reports it.
        with suppress(StoreError):
            run = self._store.scheduled_runs.find(file, day)
            if run is not None and (run.state == "done" or run.is_owner_alive):
                _log.info("scheduled_run_already_active", file=file, date=str(day), state=run.state)
                return False
        earlier = sorted(str(other) for path, other in self._running if path == file)
        if earlier:
            _log.warning(
                "scheduled_runs_overlap", file=file, date=str(day), running=", ".join(earlier)
            )
        command = [sys.executable, "-m", "archon_batch", "submit"]
        command += ["--job", file, "--date", str(day), "--continue", "--follow"]
        # In its own session: Ctrl-C reaches only this process, which forwards it.
        self._running[file, day] = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        _log.info("scheduled_run_started", file=file, date=str(day))
        return True

    def check(self, files: set[str]) -> None:
        """Drop ended processes, and restart abandoned or failed runs of these files."""
        for (file, day), process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[file, day]
                _log.info(
                    "scheduled_run_process_ended",
                    file=file,
                    date=str(day),
                    status=process.returncode,
                )
        if self._checked_at is not None and time.monotonic() - self._checked_at < _CHECK_INTERVAL:
            return
        # At the start, also restart runs whose owner on another machine cannot be checked.
        at_start, self._checked_at = self._checked_at is None, time.monotonic()
        try:
            unfinished = [
                run for run in self._store.scheduled_runs.unfinished() if run.job_file in files
            ]
        except StoreError as error:
            _log.warning("scheduled_runs_not_read", why=str(error))
            return
        for run in unfinished:
            is_running = (run.job_file, run.day) in self._running
            if not is_running and _needs_restart(run, at_start=at_start):
                self.start(run.job_file, run.day)

    def stop(self) -> None:
        """Stop every run like Ctrl-C, and wait; kill them on a second interrupt."""
        for process in self._running.values():
            process.terminate()
        try:
            for process in self._running.values():
                process.wait()
        except (KeyboardInterrupt, SystemExit):
            for process in self._running.values():
                process.kill()
        self._running.clear()


def _needs_restart(run: ScheduledRun, *, at_start: bool) -> bool:
    if run.state == "export_failed":
        return run.ended_at is None or now() - run.ended_at > _EXPORT_RETRY
    if run.state == "open":
        return run.is_abandoned or (at_start and not run.is_owner_alive)
    return True
