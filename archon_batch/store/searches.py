"""Searches: their requests, their trials, and the jobs that share their budgets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from archon_batch.errors import JobNotFoundError
from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.sql_values import as_utc, now, storable


@dataclass(frozen=True, slots=True)
class SearchRecord:
    id: str
    name: str
    request: Mapping[str, Any]
    #: running, done, paused (by the budget), stopped or interrupted.
    state: str
    reason: str | None
    budget: int | None
    #: None until the search has ended.
    result: Mapping[str, Any] | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    number: int
    #: model, fuser, trial or held_out.
    stage: str
    data: Mapping[str, Any]


class Searches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, search_id: str, name: str, request: Mapping[str, Any], budget: int | None
    ) -> bool:
        """Record the search as running; return whether it is new."""
        table = schema.searches
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, search_id)
            values = {"state": "running", "reason": None, "budget": budget, "ended_at": None}
            restart = sa.update(table).where(table.c.id == search_id).values(**values)
            if connection.execute(restart).rowcount:
                return False
            row = {
                "id": search_id,
                "name": name,
                "request": json.dumps(request),
                "created_at": now(),
            }
            connection.execute(sa.insert(table).values(**row, **values))
            return True

    def finish(
        self, search_id: str, state: str, reason: str | None, result: Mapping[str, Any] | None
    ) -> None:
        table = schema.searches
        values: dict[str, Any] = {
            "state": state,
            "reason": storable(reason),
            "result": None if result is None else json.dumps(result),
            "ended_at": now(),
        }
        with self._database.write_transaction() as connection:
            connection.execute(sa.update(table).where(table.c.id == search_id).values(**values))

    def save_trial(self, search_id: str, trial: TrialRecord) -> None:
        """Insert or update a trial."""
        table = schema.trials
        values = {"stage": trial.stage, "data": json.dumps(trial.data)}
        with self._database.write_transaction() as connection:
            existing = (table.c.search_id == search_id) & (table.c.number == trial.number)
            if not connection.execute(sa.update(table).where(existing).values(**values)).rowcount:
                key = {"search_id": search_id, "number": trial.number}
                connection.execute(sa.insert(table).values(**key, **values))

    def trials(self, search_id: str) -> list[TrialRecord]:
        """Every trial, in order of its number."""
        table = schema.trials
        query = sa.select(table).where(table.c.search_id == search_id).order_by(table.c.number)
        with self._database.read_transaction() as connection:
            return [
                TrialRecord(row.number, row.stage, json.loads(row.data))
                for row in connection.execute(query)
            ]

    def add_jobs(self, search_id: str, job_ids: Sequence[str]) -> None:
        """Add jobs that share the search's budget."""
        table = schema.search_jobs
        with self._database.write_transaction() as connection:
            query = sa.select(table.c.job_id).where(table.c.search_id == search_id)
            existing = set(connection.scalars(query))
            new = [
                {"search_id": search_id, "job_id": job_id}
                for job_id in job_ids
                if job_id not in existing
            ]
            if new:
                connection.execute(sa.insert(table), new)

    def job_ids(self, search_id: str) -> list[str]:
        """The ids of the search's jobs."""
        table = schema.search_jobs
        query = sa.select(table.c.job_id).where(table.c.search_id == search_id)
        with self._database.read_transaction() as connection:
            return list(connection.scalars(query))

    def search_id_by_job(self) -> dict[str, str]:
        """The id of the search of each job that belongs to one, by job id."""
        table = schema.search_jobs
        with self._database.read_transaction() as connection:
            rows = connection.execute(sa.select(table.c.job_id, table.c.search_id))
            return {row.job_id: row.search_id for row in rows}

    def committed_cost(self, search_id: str) -> int:
        """Nano-dollars that the search's jobs have spent, hold, or have in doubt."""
        jobs, search_jobs = schema.jobs, schema.search_jobs
        total = sa.func.sum(jobs.c.spent + jobs.c.held + jobs.c.in_doubt)
        query = (
            sa.select(sa.func.coalesce(total, 0))
            .join(search_jobs, search_jobs.c.job_id == jobs.c.id)
            .where(search_jobs.c.search_id == search_id)
        )
        with self._database.read_transaction() as connection:
            return int(connection.execute(query).scalar_one())

    def find(self, ref: str) -> SearchRecord:
        """The search with this id or name, or id prefix; the newest of several.

        Raises:
            JobNotFoundError: there is none.
        """
        table = schema.searches
        exact = (table.c.id == ref) | (table.c.name == ref)
        prefix = table.c.id.startswith(ref, autoescape=True)
        with self._database.read_transaction() as connection:
            for condition in (exact, prefix) if ref else ():
                query = sa.select(table).where(condition).order_by(table.c.created_at.desc())
                if row := connection.execute(query).first():
                    return _search_from_row(row)
        why = "no search of that id or name; archon-batch search status lists them"
        raise JobNotFoundError(ref, why)

    def all(self) -> list[SearchRecord]:
        """Every search, the newest first."""
        query = sa.select(schema.searches).order_by(schema.searches.c.created_at.desc())
        with self._database.read_transaction() as connection:
            return [_search_from_row(row) for row in connection.execute(query)]


def _search_from_row(row: ResultRow) -> SearchRecord:
    return SearchRecord(
        id=row.id,
        name=row.name,
        request=json.loads(row.request),
        state=row.state,
        reason=row.reason,
        budget=row.budget,
        result=None if row.result is None else json.loads(row.result),
        created_at=as_utc(row.created_at),
        ended_at=as_utc(row.ended_at),
    )
