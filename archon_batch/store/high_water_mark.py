"""The witness: what this machine has seen on record, in a file beside the spool.

A database that was replaced by yesterday's copy, or restored from a backup, does not know what was
paid for since, and all of it would be paid for again. A job's attempts on record only grow: where
there are fewer than were seen, the database is an older one.
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
from archon_batch.store import tables
from archon_batch.store.attempts import AttemptRequest
from archon_batch.store.database import Database
from archon_batch.store.installation import Installation
from archon_batch.store.timestamps import now

#: Seconds between writings: what a kill may leave unwritten.
_WRITE_INTERVAL = 1.0
#: Jobs that are remembered, the latest.
_MAX_JOBS = 1_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RecordedTotals:
    """What was on record: of one job, or of several."""

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
    """One a process; the file is shared by all processes of this machine."""

    def __init__(self, folder: Path, database: Database, installation: Installation) -> None:
        self._folder = folder
        self._database = database
        self._installation = installation
        self._lock = threading.Lock()
        #: Held by the clerk from a commit until it has been counted, and while the database is
        #: read: what is read before it is counted would be counted twice.
        self.commit_lock = threading.RLock()
        #: Of jobs that this process has begun attempts of.
        self._own_totals: dict[str, RecordedTotals] = {}
        self._written_at = -_WRITE_INTERVAL
        #: Whether it has been told that nothing can be written.
        self._write_failed = False
        #: Whether all that this machine has seen was held against the database.
        self._fully_checked = False
        #: Whether the database may be another one than before, as after every new connection.
        self.needs_check = True
        sa.event.listen(database.engine, "connect", self._on_connect)

    def count_attempts(self, requests: Iterable[AttemptRequest]) -> None:
        """These attempts are on record."""
        # What costs nothing is no loss.
        counts = Counter(start.call.job_id for start in requests if start.hold != 0)
        if not counts:
            return
        with self._lock:
            due = not counts.keys() <= self._own_totals.keys()
            for job, count in counts.items():
                self._own_totals[job] = self._own_totals.get(
                    job, RecordedTotals()
                ) + RecordedTotals(count)
            if due or time.monotonic() - self._written_at >= _WRITE_INTERVAL:
                self._write_file()

    def check(self) -> None:
        """Hold what was seen against the database: at first all of it, then this process's jobs.

        Raises:
            StoreGoneError: the database knows less than was seen.
            StoreError: it cannot be reached.
        """
        with self.commit_lock:
            self._check_locked()

    def _check_locked(self) -> None:
        with self._lock:
            seen = dict(self._own_totals)
        if not self._fully_checked:
            seen = self._all_totals() | seen
            self._warn_if_replaced()
        found = self._read_database(seen)
        lost = _missing_totals(seen, found)
        with self._lock:
            if lost is None:
                more = {
                    job: found[job].max_with(mine)
                    for job, mine in self._own_totals.items()
                    if job in found
                }
                self._own_totals |= more
            self._write_file()
        if lost is not None:
            raise self._database.mark_gone(self._error_message(lost))
        self._fully_checked, self.needs_check = True, False

    def missing(self) -> RecordedTotals | None:
        """What the database does not know of what was seen; None when it knows everything."""
        seen = self._all_totals()
        return _missing_totals(seen, self._read_database(seen))

    def accept(self) -> RecordedTotals | None:
        """Take the database as it is; return what it does not know."""
        with self._file_lock():
            seen = self._all_totals()
            found = self._read_database(seen)
            self._replace_file(found)
            for path in self._other_files():
                path.unlink(missing_ok=True)
        return _missing_totals(seen, found)

    def problems(self) -> Iterator[str]:
        if (missing := self.missing()) is not None:
            yield self._error_message(missing)

    def _on_connect(self, *_: object) -> None:
        self.needs_check = True

    def close(self) -> None:
        """Write down what is not written yet."""
        with self._lock:
            if self._own_totals:
                self._write_file()

    def _path(self) -> Path:
        return self._folder / f"{self._installation.id}.witness"

    def _error_message(self, lost: RecordedTotals) -> str:
        path = self._path()
        at = datetime.fromtimestamp(path.stat().st_mtime, now().tzinfo) if path.exists() else now()
        return (
            f"database: {self._database.canonical_address}: it does not know {lost} of those that this machine "
            f"saw on record until {at:%Y-%m-%d %H:%M} UTC: an older copy, or a backup, stands in "
            "its place; put the newer one back, or run archon-batch db accept, after which they "
            "are paid for again"
        )

    def _other_files(self) -> list[Path]:
        """Of databases with another id at this address: before it, or copies made without one."""
        return [path for path in self._folder.glob("*.witness") if path != self._path()]

    def _all_totals(self) -> dict[str, RecordedTotals]:
        """All that this machine saw of the jobs that are, or were, in this database."""
        others: dict[str, RecordedTotals] = {}
        for path in self._other_files():
            others |= self._read_file(path)
        # A job of another database is no loss; one that both have was copied.
        shared = self._read_database(others)
        return {job: others[job] for job in shared} | self._read_file(self._path())

    def _warn_if_replaced(self) -> None:
        """Tell once that another database stood at this address."""
        if self._path().exists():
            return
        for path in self._other_files():
            if total := sum(self._read_file(path).values(), RecordedTotals()).attempts:
                _log.warning(
                    "database_replaced", database=self._database.canonical_address, attempts=total,
                    would_do="what the one before it knew is paid for again: put that one back",
                )  # fmt: skip
        self._write_file()

    def _read_database(self, jobs: Collection[str]) -> dict[str, RecordedTotals]:
        if not jobs:
            return {}
        j, s = tables.jobs.c, tables.usage_totals.c
        attempts = sa.select(sa.func.coalesce(sa.func.sum(s.attempts), 0)).where(s.job_id == j.id)
        query = sa.select(j.id, j.spent, attempts.scalar_subquery()).where(j.id.in_(sorted(jobs)))
        with self._database.read_transaction() as connection:
            return {
                row[0]: RecordedTotals(int(row[2]), row[1]) for row in connection.execute(query)
            }

    def _write_file(self) -> None:
        self._written_at = time.monotonic()
        try:
            with self._file_lock():
                known = self._read_file(self._path())
                # The latest last, since those are kept.
                latest = {
                    job: seen.max_with(known.pop(job, RecordedTotals()))
                    for job, seen in self._own_totals.items()
                }
                self._replace_file(known | latest)
        except (OSError, StoreError) as error:
            # Calls go on: it is what they did before there was a witness.
            if not self._write_failed:
                _log.warning("high_water_mark_failed", why=str(error))
            self._write_failed = True

    def _read_file(self, path: Path) -> dict[str, RecordedTotals]:
        try:
            return {
                job: RecordedTotals(*map(int, seen))
                for job, seen in json.loads(path.read_bytes()).items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.warning("high_water_mark_unreadable", file=str(path), why=type(error).__name__)
            return {}

    def _replace_file(self, known: Mapping[str, RecordedTotals]) -> None:
        """Have the file say this, whole at every moment. A loss of power may undo it."""
        kept = dict(list(known.items())[-_MAX_JOBS:])
        draft = self._folder / f"{secrets.token_hex(8)}.draft"
        try:
            with private_files.open_private(draft, "x") as file:
                json.dump({job: (seen.attempts, seen.spent) for job, seen in kept.items()}, file)
            draft.replace(self._path())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """Be the one process that writes."""
        private_files.make_private_dir(self._folder)
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _missing_totals(
    seen: Mapping[str, RecordedTotals], found: Mapping[str, RecordedTotals]
) -> RecordedTotals | None:
    """What of that was seen is not found; None when it is all there."""
    less = [
        known.excess_over(found.get(job, RecordedTotals()))
        for job, known in seen.items()
        if known.attempts > found.get(job, RecordedTotals()).attempts
    ]
    return sum(less, RecordedTotals()) if less else None
