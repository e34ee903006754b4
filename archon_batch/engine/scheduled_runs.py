"""The nights that run from here, each a command of its own: ``submit --job FILE``."""

import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, timedelta

import structlog

from archon_batch.errors import StoreError
from archon_batch.store import ScheduledRun, Store, now

#: Seconds between looks for nights that were left, and before an export is tried again.
_CHECK_INTERVAL, _EXPORT_RETRY = 60, timedelta(minutes=10)

_log = structlog.get_logger()


class ScheduledRunProcesses:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[tuple[str, date], subprocess.Popen[bytes]] = {}
        self._checked_at: float | None = None

    def start(self, file: str, day: date) -> bool:
        """Start the night unless it is done or under way; return whether it was started."""
        if (file, day) in self._running:
            _log.info("scheduled_run_already_active", file=file, date=str(day))
            return False
        # Without the database the command says so, and tells of it.
        with suppress(StoreError):
            found = self._store.scheduled_runs.find(file, day)
            if found is not None and (found.state == "done" or found.is_owner_alive):
                _log.info(
                    "scheduled_run_already_active", file=file, date=str(day), state=found.state
                )
                return False
        earlier = sorted(str(other) for path, other in self._running if path == file)
        if earlier:
            _log.warning(
                "scheduled_runs_overlap", file=file, date=str(day), running=", ".join(earlier)
            )
        command = [sys.executable, "-m", "archon_batch", "submit"]
        command += ["--job", file, "--date", str(day), "--go-on", "--follow"]
        # In a session of its own: Ctrl-C reaches us only, and we hand it on.
        self._running[file, day] = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        _log.info("scheduled_run_started", file=file, date=str(day))
        return True

    def check(self, files: set[str]) -> None:
        """Note what has ended, and take up again the nights of these files that were left."""
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
        # Whoever saw to a night on another machine is asked for once: when we start.
        first, self._checked_at = self._checked_at is None, time.monotonic()
        try:
            left = [
                night
                for night in self._store.scheduled_runs.unfinished()
                if night.job_file in files
            ]
        except StoreError as error:
            _log.warning("scheduled_runs_not_read", why=str(error))
            return
        for night in left:
            if (night.job_file, night.day) not in self._running and _needs_restart(
                night, first=first
            ):
                self.start(night.job_file, night.day)

    def stop(self) -> None:
        """Have every night stop as Ctrl-C would, and wait; interrupted again, kill them."""
        for process in self._running.values():
            process.terminate()
        try:
            for process in self._running.values():
                process.wait()
        except (KeyboardInterrupt, SystemExit):
            for process in self._running.values():
                process.kill()
        self._running.clear()


def _needs_restart(run: ScheduledRun, *, first: bool) -> bool:
    if run.state == "export_failed":
        return run.ended_at is None or now() - run.ended_at > _EXPORT_RETRY
    if run.state == "open":
        return run.is_abandoned or (first and not run.is_owner_alive)
    return True
