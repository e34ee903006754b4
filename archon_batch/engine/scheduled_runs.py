"""The nights that run from here, each a command of its own: ``submit --job FILE``."""

import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, timedelta

import structlog

from archon_batch.errors import StoreError
from archon_batch.store import Night, Store, now

#: Seconds between looks for nights that were left, and before an export is tried again.
_LOOK, _EXPORT = 60, timedelta(minutes=10)

_log = structlog.get_logger()


class Nights:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[tuple[str, date], subprocess.Popen[bytes]] = {}
        self._looked: float | None = None

    def begin(self, file: str, day: date) -> bool:
        """Start the night unless it is done or under way; return whether it was started."""
        if (file, day) in self._running:
            _log.info("night_under_way", file=file, date=str(day))
            return False
        # Without the database the command says so, and tells of it.
        with suppress(StoreError):
            found = self._store.nights.find(file, day)
            if found is not None and (found.state == "done" or found.is_attended):
                _log.info("night_under_way", file=file, date=str(day), state=found.state)
                return False
        earlier = sorted(str(other) for path, other in self._running if path == file)
        if earlier:
            _log.warning("nights_overlap", file=file, date=str(day), running=", ".join(earlier))
        command = [sys.executable, "-m", "archon_batch", "submit"]
        command += ["--job", file, "--date", str(day), "--go-on", "--follow"]
        # In a session of its own: Ctrl-C reaches us only, and we hand it on.
        self._running[file, day] = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        _log.info("night_started", file=file, date=str(day))
        return True

    def look(self, files: set[str]) -> None:
        """Note what has ended, and take up again the nights of these files that were left."""
        for (file, day), process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[file, day]
                _log.info("night_left", file=file, date=str(day), status=process.returncode)
        if self._looked is not None and time.monotonic() - self._looked < _LOOK:
            return
        # Whoever saw to a night on another machine is asked for once: when we start.
        first, self._looked = self._looked is None, time.monotonic()
        try:
            left = [night for night in self._store.nights.unfinished() if night.file in files]
        except StoreError as error:
            _log.warning("nights_unread", why=str(error))
            return
        for night in left:
            if (night.file, night.day) not in self._running and _is_left(night, first=first):
                self.begin(night.file, night.day)

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


def _is_left(night: Night, *, first: bool) -> bool:
    if night.state == "unexported":
        return night.ended_at is None or now() - night.ended_at > _EXPORT
    if night.state == "open":
        return night.is_abandoned or (first and not night.is_attended)
    return True
