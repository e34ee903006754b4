"""Nights in the database: each day of a job file, also one that never came to a job."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.compiled_sql import Record
from archon_batch.store.database import Database
from archon_batch.store.process_identity import is_dead, is_here, me
from archon_batch.store.text_values import storable
from archon_batch.store.timestamps import now, utc


@dataclass(frozen=True, slots=True)
class Night:
    #: The job file, as an absolute path.
    file: str
    day: date
    name: str | None
    #: None until it has been submitted.
    job: str | None
    #: open, unexported, failed, or as its job ended: done, paused, stopped or cancelled.
    state: str
    reason: str | None
    owner: str
    begun_at: datetime
    ended_at: datetime | None

    @property
    def is_attended(self) -> bool:
        """Whether a living process of this machine sees to it."""
        return self.state == "open" and is_here(self.owner) and not is_dead(self.owner)

    @property
    def is_abandoned(self) -> bool:
        """Whether the process of this machine that saw to it has died."""
        return self.state == "open" and is_dead(self.owner)


class Nights:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, file: str, day: date, name: str | None) -> Night:
        """The night, open and this process's; one that is done stays done."""
        n = tables.nights.c
        fresh = {"name": name, "owner": me(), "begun_at": now(), "state": "open", "reason": None}
        with self._database.writing() as connection:
            self._database.one_at_a_time(connection, f"{file} {day}")
            found = connection.execute(_one(file, day)).first()
            if found is None:
                key = {"file": file, "day": day.isoformat()}
                connection.execute(sa.insert(tables.nights), key | fresh)
            else:
                again = _update(file, day).where(n.state != "done")
                connection.execute(again.values(**fresh, ended_at=None))
            return _night(connection.execute(_one(file, day)).one())

    def submitted(self, file: str, day: date, job_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(_update(file, day).values(job_id=job_id))

    def end(self, file: str, day: date, state: str, reason: str | None, *, fails: bool) -> bool:
        """Put the end of an open night on record; return whether it is to be told.

        A night is told of once, however often it fails.
        """
        n = tables.nights.c
        ended = {"state": state, "reason": storable(reason), "ended_at": now()}
        with self._database.writing() as connection:
            open_night = _update(file, day).where(n.state == "open")
            if connection.execute(open_night.values(**ended)).rowcount == 0 or not fails:
                return False
            untold = _update(file, day).where(n.told_at.is_(None))
            return connection.execute(untold.values(told_at=now())).rowcount == 1

    def find(self, file: str, day: date) -> Night | None:
        with self._database.reading() as connection:
            row = connection.execute(_one(file, day)).first()
        return None if row is None else _night(row)

    def last(self, file: str) -> Night | None:
        """The file's night of the latest day."""
        n = tables.nights.c
        query = sa.select(tables.nights).where(n.file == file).order_by(n.day.desc())
        with self._database.reading() as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else _night(row)

    def unfinished(self) -> list[Night]:
        """Those that are open or without their export, the oldest first."""
        n, j = tables.nights.c, tables.jobs.c
        # Somebody may have brought a paused job to its end by hand.
        mended = n.state.in_(["paused", "stopped"]) & (j.state == "done")
        query = (
            sa.select(tables.nights)
            .select_from(tables.nights.outerjoin(tables.jobs, n.job_id == j.id))
            .where(n.state.in_(["open", "unexported"]) | mended)
            .order_by(n.begun_at)
        )
        with self._database.reading() as connection:
            return [_night(row) for row in connection.execute(query)]

    def all(self) -> list[Night]:
        """Every night, the newest first."""
        query = sa.select(tables.nights).order_by(tables.nights.c.begun_at.desc())
        with self._database.reading() as connection:
            return [_night(row) for row in connection.execute(query)]


def _one(file: str, day: date) -> sa.Select[Record]:
    n = tables.nights.c
    return sa.select(tables.nights).where(n.file == file, n.day == day.isoformat())


def _update(file: str, day: date) -> sa.Update:
    n = tables.nights.c
    return sa.update(tables.nights).where(n.file == file, n.day == day.isoformat())


def _night(row: Record) -> Night:
    return Night(
        file=row.file,
        day=date.fromisoformat(row.day),
        name=row.name,
        job=row.job_id,
        state=row.state,
        reason=row.reason,
        owner=row.owner,
        begun_at=utc(row.begun_at),
        ended_at=utc(row.ended_at),
    )
