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
from archon_batch.money import usd
from archon_batch.store import tables
from archon_batch.store.attempts import Start
from archon_batch.store.database import Database
from archon_batch.store.installation import Installation
from archon_batch.store.timestamps import now

#: Seconds between writings: what a kill may leave unwritten.
_EVERY = 1.0
#: Jobs that are remembered, the latest.
_MOST = 1_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was on record: of one job, or of several."""

    attempts: int = 0
    #: Nano-dollars that were settled.
    spent: int = 0

    def most(self, other: "Seen") -> "Seen":
        return Seen(max(self.attempts, other.attempts), max(self.spent, other.spent))

    def beyond(self, other: "Seen") -> "Seen":
        return Seen(max(0, self.attempts - other.attempts), max(0, self.spent - other.spent))

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(self.attempts + other.attempts, self.spent + other.spent)

    def __str__(self) -> str:
        money = f" ({usd(self.spent):f} USD)" if self.spent else ""
        return f"{self.attempts} attempt{'s' * (self.attempts != 1)}{money}"


class Witness:
    """One a process; the file is shared by all processes of this machine."""

    def __init__(self, folder: Path, database: Database, installation: Installation) -> None:
        self._folder = folder
        self._database = database
        self._installation = installation
        self._lock = threading.Lock()
        #: Held by the clerk from a commit until it has been counted, and while the database is
        #: read: what is read before it is counted would be counted twice.
        self.commits = threading.RLock()
        #: Of jobs that this process has begun attempts of.
        self._seen: dict[str, Seen] = {}
        self._written = -_EVERY
        #: Whether it has been told that nothing can be written.
        self._failed = False
        #: Whether all that this machine has seen was held against the database.
        self._begun = False
        #: Whether the database may be another one than before, as after every new connection.
        self.doubts = True
        sa.event.listen(database.engine, "connect", self._doubt)

    def begun(self, starts: Iterable[Start]) -> None:
        """These attempts are on record."""
        # What costs nothing is no loss.
        counts = Counter(start.call.job for start in starts if start.reserve != 0)
        if not counts:
            return
        with self._lock:
            due = not counts.keys() <= self._seen.keys()
            for job, count in counts.items():
                self._seen[job] = self._seen.get(job, Seen()) + Seen(count)
            if due or time.monotonic() - self._written >= _EVERY:
                self._write()

    def check(self) -> None:
        """Hold what was seen against the database: at first all of it, then this process's jobs.

        Raises:
            StoreGoneError: the database knows less than was seen.
            StoreError: it cannot be reached.
        """
        with self.commits:
            self._check()

    def _check(self) -> None:
        with self._lock:
            seen = dict(self._seen)
        if not self._begun:
            seen = self._everything() | seen
            self._tell_of_another()
        found = self._on_record(seen)
        lost = _lost(seen, found)
        with self._lock:
            if lost is None:
                more = {
                    job: found[job].most(mine) for job, mine in self._seen.items() if job in found
                }
                self._seen |= more
            self._write()
        if lost is not None:
            raise self._database.is_gone(self._words(lost))
        self._begun, self.doubts = True, False

    def missing(self) -> Seen | None:
        """What the database does not know of what was seen; None when it knows everything."""
        seen = self._everything()
        return _lost(seen, self._on_record(seen))

    def accept(self) -> Seen | None:
        """Take the database as it is; return what it does not know."""
        with self._locked():
            seen = self._everything()
            found = self._on_record(seen)
            self._replace(found)
            for path in self._others():
                path.unlink(missing_ok=True)
        return _lost(seen, found)

    def faults(self) -> Iterator[str]:
        if (missing := self.missing()) is not None:
            yield self._words(missing)

    def _doubt(self, *_: object) -> None:
        self.doubts = True

    def close(self) -> None:
        """Write down what is not written yet."""
        with self._lock:
            if self._seen:
                self._write()

    def _path(self) -> Path:
        return self._folder / f"{self._installation.id}.witness"

    def _words(self, lost: Seen) -> str:
        path = self._path()
        at = datetime.fromtimestamp(path.stat().st_mtime, now().tzinfo) if path.exists() else now()
        return (
            f"database: {self._database.name}: it does not know {lost} of those that this machine "
            f"saw on record until {at:%Y-%m-%d %H:%M} UTC: an older copy, or a backup, stands in "
            "its place; put the newer one back, or run archon-batch db accept, after which they "
            "are paid for again"
        )

    def _others(self) -> list[Path]:
        """Of databases with another id at this address: before it, or copies made without one."""
        return [path for path in self._folder.glob("*.witness") if path != self._path()]

    def _everything(self) -> dict[str, Seen]:
        """All that this machine saw of the jobs that are, or were, in this database."""
        others: dict[str, Seen] = {}
        for path in self._others():
            others |= self._read(path)
        # A job of another database is no loss; one that both have was copied.
        shared = self._on_record(others)
        return {job: others[job] for job in shared} | self._read(self._path())

    def _tell_of_another(self) -> None:
        """Tell once that another database stood at this address."""
        if self._path().exists():
            return
        for path in self._others():
            if total := sum(self._read(path).values(), Seen()).attempts:
                _log.warning(
                    "database_is_another", database=self._database.name, attempts=total,
                    would_do="what the one before it knew is paid for again: put that one back",
                )  # fmt: skip
        self._write()

    def _on_record(self, jobs: Collection[str]) -> dict[str, Seen]:
        if not jobs:
            return {}
        j, s = tables.jobs.c, tables.sums.c
        attempts = sa.select(sa.func.coalesce(sa.func.sum(s.attempts), 0)).where(s.job_id == j.id)
        query = sa.select(j.id, j.spent, attempts.scalar_subquery()).where(j.id.in_(sorted(jobs)))
        with self._database.reading() as connection:
            return {row[0]: Seen(int(row[2]), row[1]) for row in connection.execute(query)}

    def _write(self) -> None:
        self._written = time.monotonic()
        try:
            with self._locked():
                known = self._read(self._path())
                # The latest last, since those are kept.
                latest = {
                    job: seen.most(known.pop(job, Seen())) for job, seen in self._seen.items()
                }
                self._replace(known | latest)
        except (OSError, StoreError) as error:
            # Calls go on: it is what they did before there was a witness.
            if not self._failed:
                _log.warning("witness_failed", why=str(error))
            self._failed = True

    def _read(self, path: Path) -> dict[str, Seen]:
        try:
            return {
                job: Seen(*map(int, seen)) for job, seen in json.loads(path.read_bytes()).items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.warning("witness_unreadable", file=str(path), why=type(error).__name__)
            return {}

    def _replace(self, known: Mapping[str, Seen]) -> None:
        """Have the file say this, whole at every moment. A loss of power may undo it."""
        kept = dict(list(known.items())[-_MOST:])
        draft = self._folder / f"{secrets.token_hex(8)}.draft"
        try:
            with private_files.opened(draft, "x") as file:
                json.dump({job: (seen.attempts, seen.spent) for job, seen in kept.items()}, file)
            draft.replace(self._path())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the one process that writes."""
        private_files.folder(self._folder)
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _lost(seen: Mapping[str, Seen], found: Mapping[str, Seen]) -> Seen | None:
    """What of that was seen is not found; None when it is all there."""
    less = [
        known.beyond(found.get(job, Seen()))
        for job, known in seen.items()
        if known.attempts > found.get(job, Seen()).attempts
    ]
    return sum(less, Seen()) if less else None
