"""The high-water mark: how much this machine has seen recorded, in a file beside the spool.

An older copy of the database, or a restored backup, does not know what was paid for since, and all
of it would be paid for again. The number of a job's attempts only grows: a database with fewer
attempts than were seen is older.
"""

import fcntl
import json
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog

from archon_batch import private_files
from archon_batch.errors import StoreError
from archon_batch.money import to_usd
from archon_batch.store import schema
from archon_batch.store.attempts import AttemptRequest
from archon_batch.store.database import Database
from archon_batch.store.installation import Installation
from archon_batch.store.sql_values import now

#: Seconds between two writes of the file: a kill loses no more than that.
_WRITE_INTERVAL = 1.0
#: The file keeps this many of the latest jobs.
_MAX_JOBS = 1_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RecordedTotals:
    """The attempts and the money recorded for one job, or for several."""

    attempts: int = 0
    #: Nano-dollars that were settled.
    spent: int = 0

    def max_with(self, other: "RecordedTotals") -> "RecordedTotals":
        return RecordedTotals(max(self.attempts, other.attempts), max(self.spent, other.spent))

    def excess_over(self, other: "RecordedTotals") -> "RecordedTotals":
        return RecordedTotals(
            max(0, self.attempts - other.attempts), max(0, self.spent - other.spent)
        )

    def __add__(self, other: "RecordedTotals") -> "RecordedTotals":
        return RecordedTotals(self.attempts + other.attempts, self.spent + other.spent)

    def __str__(self) -> str:
        money = f" ({to_usd(self.spent):f} USD)" if self.spent else ""
        return f"{self.attempts} attempt{'s' * (self.attempts != 1)}{money}"


class HighWaterMark:
    """One per process; all processes of the machine share the file."""

    def __init__(self, folder: Path, database: Database, installation: Installation) -> None:
        self._folder = folder
        self._database = database
        self._installation = installation
        self._lock = threading.Lock()
        #: Held by the attempt writer from a commit until its attempts are counted, and during a
        #: check: attempts read before they are counted would be counted twice.
        self.commit_lock = threading.RLock()
        #: For jobs whose attempts this process has begun.
        self._own_totals: dict[str, RecordedTotals] = {}
        self._written_at = -_WRITE_INTERVAL
        #: Whether a failed write has been logged.
        self._write_failed = False
        #: Whether everything that this machine has seen was compared with the database.
        self._fully_checked = False
        #: Whether the database may have been replaced, as after every new connection.
        self.needs_check = True
        sa.event.listen(database.engine, "connect", self._on_connect)

    def count_attempts(self, requests: Iterable[AttemptRequest]) -> None:
        """Count attempts that were recorded just now."""
        # Losing a free attempt costs nothing.
        counts = Counter(request.call.job_id for request in requests if request.hold != 0)
        if not counts:
            return
        with self._lock:
            has_new_job = not counts.keys() <= self._own_totals.keys()
            for job_id, count in counts.items():
                before = self._own_totals.get(job_id, RecordedTotals())
                self._own_totals[job_id] = before + RecordedTotals(count)
            if has_new_job or time.monotonic() - self._written_at >= _WRITE_INTERVAL:
                self._write_file()

    def check(self) -> None:
        """Compare the mark with the database: all of it first, later this process's jobs only.

        Raises:
            StoreReplacedError: the database has fewer attempts than were seen.
            StoreError: the database is unavailable.
        """
        with self.commit_lock:
            self._check_locked()

    def _check_locked(self) -> None:
        with self._lock:
            seen = dict(self._own_totals)
        if not self._fully_checked:
            seen = self._all_totals() | seen
            self._warn_if_replaced()
        recorded = self._read_database(seen)
        missing = _missing_totals(seen, recorded)
        with self._lock:
            if missing is None:
                self._own_totals |= {
                    job_id: recorded[job_id].max_with(own)
                    for job_id, own in self._own_totals.items()
                    if job_id in recorded
                }
            self._write_file()
        if missing is not None:
            raise self._database.mark_replaced(self._error_message(missing))
        self._fully_checked, self.needs_check = True, False

    def missing(self) -> RecordedTotals | None:
        """What this machine has seen and the database does not have; None if it has everything."""
        seen = self._all_totals()
        return _missing_totals(seen, self._read_database(seen))

    def accept(self) -> RecordedTotals | None:
        """Set the mark to the state of the database; return what the database does not have."""
        with self._file_lock():
            seen = self._all_totals()
            recorded = self._read_database(seen)
            self._replace_file(recorded)
            for path in self._other_files():
                path.unlink(missing_ok=True)
        return _missing_totals(seen, recorded)

    def problems(self) -> Iterator[str]:
        if (missing := self.missing()) is not None:
            yield self._error_message(missing)

    def _on_connect(self, *_: object) -> None:
        self.needs_check = True

    def close(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._own_totals:
                self._write_file()

    def _path(self) -> Path:
        return self._folder / f"{self._installation.id}.high-water-mark"

    def _error_message(self, missing: RecordedTotals) -> str:
        path = self._path()
        at = datetime.fromtimestamp(path.stat().st_mtime, now().tzinfo) if path.exists() else now()
        return (
            f"database: {self._database.canonical_address}: it does not know {missing} that this "
            f"machine saw there until {at:%Y-%m-%d %H:%M} UTC: it is an older copy, or a restored "
            "backup; put the newer one back, or run archon-batch db accept and pay for them again"
        )

    def _other_files(self) -> list[Path]:
        """The files of databases with another id at this address: earlier ones, or their copies."""
        return [path for path in self._folder.glob("*.high-water-mark") if path != self._path()]

    def _all_totals(self) -> dict[str, RecordedTotals]:
        """Everything this machine has seen of jobs that are, or were, in this database."""
        others: dict[str, RecordedTotals] = {}
        for path in self._other_files():
            others |= self._read_file(path)
        # A job of another database is no loss; a job in both was copied.
        shared = self._read_database(others)
        return {job_id: others[job_id] for job_id in shared} | self._read_file(self._path())

    def _warn_if_replaced(self) -> None:
        """Log once that another database stood at this address."""
        if self._path().exists():
            return
        for path in self._other_files():
            if total := sum(self._read_file(path).values(), RecordedTotals()).attempts:
                _log.warning(
                    "database_replaced", database=self._database.canonical_address, attempts=total,
                    would_do="put the previous one back, or its attempts are paid for again",
                )  # fmt: skip
        self._write_file()

    def _read_database(self, job_ids: Collection[str]) -> dict[str, RecordedTotals]:
        if not job_ids:
            return {}
        j, t = schema.jobs.c, schema.usage_totals.c
        attempts = sa.select(sa.func.coalesce(sa.func.sum(t.attempts), 0)).where(t.job_id == j.id)
        query = sa.select(j.id, j.spent, attempts.scalar_subquery()).where(
            j.id.in_(sorted(job_ids))
        )
        with self._database.read_transaction() as connection:
            return {
                job_id: RecordedTotals(int(count), spent)
                for job_id, spent, count in connection.execute(query)
            }

    def _write_file(self) -> None:
        self._written_at = time.monotonic()
        try:
            with self._file_lock():
                stored = self._read_file(self._path())
                # The latest jobs last, because the file keeps the last ones.
                latest = {
                    job_id: own.max_with(stored.pop(job_id, RecordedTotals()))
                    for job_id, own in self._own_totals.items()
                }
                self._replace_file(stored | latest)
        except (OSError, StoreError) as error:
            # Calls continue: without the mark an older database is only noticed later.
            if not self._write_failed:
                _log.warning("high_water_mark_failed", why=str(error))
            self._write_failed = True

    def _read_file(self, path: Path) -> dict[str, RecordedTotals]:
        try:
            return {
                job_id: RecordedTotals(*map(int, totals))
                for job_id, totals in json.loads(path.read_bytes()).items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.warning("high_water_mark_unreadable", file=str(path), why=type(error).__name__)
            return {}

    def _replace_file(self, totals: Mapping[str, RecordedTotals]) -> None:
        """Replace the file atomically. A power loss may undo it."""
        kept = dict(list(totals.items())[-_MAX_JOBS:])
        draft = self._folder / f"{secrets.token_hex(8)}.draft"
        try:
            with private_files.open_private(draft, "x") as file:
                json.dump({job_id: (one.attempts, one.spent) for job_id, one in kept.items()}, file)
            draft.replace(self._path())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """Exclude other processes that write the file."""
        private_files.make_private_dir(self._folder)
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _missing_totals(
    seen: Mapping[str, RecordedTotals], recorded: Mapping[str, RecordedTotals]
) -> RecordedTotals | None:
    """What was seen and is not recorded; None if everything is recorded."""
    nothing = RecordedTotals()
    missing = [
        totals.excess_over(recorded.get(job_id, nothing))
        for job_id, totals in seen.items()
        if totals.attempts > recorded.get(job_id, nothing).attempts
    ]
    return sum(missing, nothing) if missing else None
