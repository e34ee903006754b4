"""Nights in the database: each day of a job file, also one that never came to a job."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.process_identity import current_process_id, is_dead, is_local
from archon_batch.store.text_values import storable
from archon_batch.store.timestamps import as_utc, now


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    #: The job file, as an absolute path.
    job_file: str
    day: date
    job_name: str | None
    #: None until it has been submitted.
    job_id: str | None
    #: open, export_failed, failed, or as its job ended: done, paused, stopped or cancelled.
    state: str
    reason: str | None
    owner: str
    begun_at: datetime
    ended_at: datetime | None

    @property
    def is_owner_alive(self) -> bool:
        """Whether a living process of this machine sees to it."""
        return self.state == "open" and is_local(self.owner) and not is_dead(self.owner)

    @property
    def is_abandoned(self) -> bool:
        """Whether the process of this machine that saw to it has died."""
        return self.state == "open" and is_dead(self.owner)


class ScheduledRuns:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, job_file: str, day: date, job_name: str | None) -> ScheduledRun:
        """The night, open and this process's; one that is done stays done."""
        n = tables.scheduled_runs.c
        fresh = {
            "name": job_name,
            "owner": current_process_id(),
            "begun_at": now(),
            "state": "open",
            "reason": None,
        }
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, f"{job_file} {day}")
            found = connection.execute(_run_query(job_file, day)).first()
            if found is None:
                key = {"file": job_file, "day": day.isoformat()}
                connection.execute(sa.insert(tables.scheduled_runs), key | fresh)
            else:
                again = _run_update(job_file, day).where(n.state != "done")
                connection.execute(again.values(**fresh, ended_at=None))
            return _run_from_row(connection.execute(_run_query(job_file, day)).one())

    def set_job(self, job_file: str, day: date, job_id: str) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_run_update(job_file, day).values(job_id=job_id))

    def finish(
        self, job_file: str, day: date, state: str, reason: str | None, *, failed: bool
    ) -> bool:
        """Put the end of an open night on record; return whether it is to be told.

        A night is told of once, however often it fails.
        """
        n = tables.scheduled_runs.c
        ended = {"state": state, "reason": storable(reason), "ended_at": now()}
        with self._database.write_transaction() as connection:
            open_night = _run_update(job_file, day).where(n.state == "open")
            if connection.execute(open_night.values(**ended)).rowcount == 0 or not failed:
                return False
            untold = _run_update(job_file, day).where(n.told_at.is_(None))
            return connection.execute(untold.values(told_at=now())).rowcount == 1

    def find(self, job_file: str, day: date) -> ScheduledRun | None:
        with self._database.read_transaction() as connection:
            row = connection.execute(_run_query(job_file, day)).first()
        return None if row is None else _run_from_row(row)

    def latest(self, job_file: str) -> ScheduledRun | None:
        """The file's night of the latest day."""
        n = tables.scheduled_runs.c
        query = sa.select(tables.scheduled_runs).where(n.file == job_file).order_by(n.day.desc())
        with self._database.read_transaction() as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else _run_from_row(row)

    def unfinished(self) -> list[ScheduledRun]:
        """Those that are open or without their export, the oldest first."""
        n, j = tables.scheduled_runs.c, tables.jobs.c
        # Somebody may have brought a paused job to its end by hand.
        mended = n.state.in_(["paused", "stopped"]) & (j.state == "done")
        query = (
            sa.select(tables.scheduled_runs)
            .select_from(tables.scheduled_runs.outerjoin(tables.jobs, n.job_id == j.id))
            .where(n.state.in_(["open", "export_failed"]) | mended)
            .order_by(n.begun_at)
        )
        with self._database.read_transaction() as connection:
            return [_run_from_row(row) for row in connection.execute(query)]

    def all(self) -> list[ScheduledRun]:
        """Every night, the newest first."""
        query = sa.select(tables.scheduled_runs).order_by(tables.scheduled_runs.c.begun_at.desc())
        with self._database.read_transaction() as connection:
            return [_run_from_row(row) for row in connection.execute(query)]


def _run_query(job_file: str, day: date) -> sa.Select[ResultRow]:
    n = tables.scheduled_runs.c
    return sa.select(tables.scheduled_runs).where(n.file == job_file, n.day == day.isoformat())


def _run_update(job_file: str, day: date) -> sa.Update:
    n = tables.scheduled_runs.c
    return sa.update(tables.scheduled_runs).where(n.file == job_file, n.day == day.isoformat())


def _run_from_row(row: ResultRow) -> ScheduledRun:
    return ScheduledRun(
        job_file=row.file,
        day=date.fromisoformat(row.day),
        job_name=row.name,
        job_id=row.job_id,
        state=row.state,
        reason=row.reason,
        owner=row.owner,
        begun_at=as_utc(row.begun_at),
        ended_at=as_utc(row.ended_at),
    )
