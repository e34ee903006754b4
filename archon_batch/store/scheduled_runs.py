"""Scheduled runs: one per job file and day, recorded even if no job could be submitted."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.process_identity import current_process_id, is_dead, is_local
from archon_batch.store.sql_values import as_utc, now, storable


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    #: The absolute path.
    job_file: str
    day: date
    job_name: str | None
    #: None until the job is submitted.
    job_id: str | None
    #: open, export_failed, failed, or the final state of its job: done, paused, stopped, cancelled.
    state: str
    reason: str | None
    owner: str
    begun_at: datetime
    ended_at: datetime | None

    @property
    def is_owner_alive(self) -> bool:
        """Whether a living process of this machine runs it."""
        return self.state == "open" and is_local(self.owner) and not is_dead(self.owner)

    @property
    def is_abandoned(self) -> bool:
        """Whether the process of this machine that ran it has died."""
        return self.state == "open" and is_dead(self.owner)


class ScheduledRuns:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, job_file: str, day: date, job_name: str | None) -> ScheduledRun:
        """Open the run for this process and return it; a run that is done stays done."""
        values = {
            "job_name": job_name,
            "owner": current_process_id(),
            "begun_at": now(),
            "state": "open",
            "reason": None,
        }
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, f"{job_file} {day}")
            if connection.execute(_run_query(job_file, day)).first() is None:
                key = {"job_file": job_file, "day": day.isoformat()}
                connection.execute(sa.insert(schema.scheduled_runs), key | values)
            else:
                not_done = schema.scheduled_runs.c.state != "done"
                reopen = _run_update(job_file, day).where(not_done)
                connection.execute(reopen.values(**values, ended_at=None))
            return _run_from_row(connection.execute(_run_query(job_file, day)).one())

    def set_job(self, job_file: str, day: date, job_id: str) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_run_update(job_file, day).values(job_id=job_id))

    def finish(
        self, job_file: str, day: date, state: str, reason: str | None, *, failed: bool
    ) -> bool:
        """Record the end of an open run; return whether its failure must be notified.

        A run is notified once, however often it fails.
        """
        c = schema.scheduled_runs.c
        values = {"state": state, "reason": storable(reason), "ended_at": now()}
        with self._database.write_transaction() as connection:
            open_run = _run_update(job_file, day).where(c.state == "open")
            if connection.execute(open_run.values(**values)).rowcount == 0 or not failed:
                return False
            not_notified = _run_update(job_file, day).where(c.notified_at.is_(None))
            return connection.execute(not_notified.values(notified_at=now())).rowcount == 1

    def find(self, job_file: str, day: date) -> ScheduledRun | None:
        with self._database.read_transaction() as connection:
            row = connection.execute(_run_query(job_file, day)).first()
        return None if row is None else _run_from_row(row)

    def latest(self, job_file: str) -> ScheduledRun | None:
        """The job file's run of the latest day."""
        c = schema.scheduled_runs.c
        query = sa.select(schema.scheduled_runs).where(c.job_file == job_file)
        with self._database.read_transaction() as connection:
            row = connection.execute(query.order_by(c.day.desc()).limit(1)).first()
        return None if row is None else _run_from_row(row)

    def unfinished(self) -> list[ScheduledRun]:
        """The runs that are open or lack their export, the oldest first."""
        c, jobs = schema.scheduled_runs.c, schema.jobs.c
        # A user may have completed a paused job by hand.
        job_completed_later = c.state.in_(["paused", "stopped"]) & (jobs.state == "done")
        query = (
            sa.select(schema.scheduled_runs)
            .select_from(schema.scheduled_runs.outerjoin(schema.jobs, c.job_id == jobs.id))
            .where(c.state.in_(["open", "export_failed"]) | job_completed_later)
            .order_by(c.begun_at)
        )
        with self._database.read_transaction() as connection:
            return [_run_from_row(row) for row in connection.execute(query)]

    def all(self) -> list[ScheduledRun]:
        """Every run, the newest first."""
        table = schema.scheduled_runs
        query = sa.select(table).order_by(table.c.begun_at.desc())
        with self._database.read_transaction() as connection:
            return [_run_from_row(row) for row in connection.execute(query)]


def _run_query(job_file: str, day: date) -> sa.Select[ResultRow]:
    c = schema.scheduled_runs.c
    return sa.select(schema.scheduled_runs).where(c.job_file == job_file, c.day == day.isoformat())


def _run_update(job_file: str, day: date) -> sa.Update:
    c = schema.scheduled_runs.c
    return sa.update(schema.scheduled_runs).where(c.job_file == job_file, c.day == day.isoformat())


def _run_from_row(row: ResultRow) -> ScheduledRun:
    return ScheduledRun(
        job_file=row.job_file,
        day=date.fromisoformat(row.day),
        job_name=row.job_name,
        job_id=row.job_id,
        state=row.state,
        reason=row.reason,
        owner=row.owner,
        begun_at=as_utc(row.begun_at),
        ended_at=as_utc(row.ended_at),
    )
