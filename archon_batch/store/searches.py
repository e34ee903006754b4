"""Searches in the database: what was asked for, every trial, and the jobs that share the budget."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from archon_batch.errors import JobNotFoundError
from archon_batch.store import tables
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.text_values import storable
from archon_batch.store.timestamps import as_utc, now


@dataclass(frozen=True, slots=True)
class SearchRecord:
    id: str
    name: str
    request: Mapping[str, Any]
    #: running, or as it ended: done, paused (by the budget), stopped or interrupted.
    state: str
    reason: str | None
    budget: int | None
    #: What came of it; None before its end.
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
        """Put the search on record as running; return whether it is new."""
        table = tables.searches
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, search_id)
            again = sa.update(table).where(table.c.id == search_id)
            fresh = {"state": "running", "reason": None, "budget": budget, "ended_at": None}
            if connection.execute(again.values(**fresh)).rowcount:
                return False
            row = {"id": search_id, "name": name, "asked": json.dumps(request), "created_at": now()}
            connection.execute(sa.insert(table).values(**row, **fresh))
            return True

    def finish(
        self, search_id: str, state: str, reason: str | None, result: Mapping[str, Any] | None
    ) -> None:
        table = tables.searches
        values: dict[str, Any] = {
            "state": state,
            "reason": storable(reason),
            "result": None if result is None else json.dumps(result),
            "ended_at": now(),
        }
        with self._database.write_transaction() as connection:
            connection.execute(sa.update(table).where(table.c.id == search_id).values(**values))

    def save_trial(self, search_id: str, trial: TrialRecord) -> None:
        """Put a trial on record, or what has come of it since."""
        table = tables.trials
        told = json.dumps(trial.data)
        with self._database.write_transaction() as connection:
            known = (table.c.search_id == search_id) & (table.c.n == trial.number)
            values = {"stage": trial.stage, "told": told}
            if not connection.execute(sa.update(table).where(known).values(**values)).rowcount:
                key = {"search_id": search_id, "n": trial.number}
                connection.execute(sa.insert(table).values(**key, **values))

    def trials(self, search_id: str) -> list[TrialRecord]:
        """Every trial in the order it was asked for."""
        table = tables.trials
        query = sa.select(table).where(table.c.search_id == search_id).order_by(table.c.n)
        with self._database.read_transaction() as connection:
            return [
                TrialRecord(row.n, row.stage, json.loads(row.told))
                for row in connection.execute(query)
            ]

    def add_jobs(self, search_id: str, job_ids: Sequence[str]) -> None:
        """Have the jobs share the search's budget from now on."""
        table = tables.search_jobs
        with self._database.write_transaction() as connection:
            query = sa.select(table.c.job_id).where(table.c.search_id == search_id)
            known = set(connection.scalars(query))
            new = [{"search_id": search_id, "job_id": j} for j in job_ids if j not in known]
            if new:
                connection.execute(sa.insert(table), new)

    def job_ids(self, search_id: str) -> list[str]:
        """The ids of its jobs."""
        table = tables.search_jobs
        query = sa.select(table.c.job_id).where(table.c.search_id == search_id)
        with self._database.read_transaction() as connection:
            return list(connection.scalars(query))

    def search_id_by_job(self) -> dict[str, str]:
        """The search of every job that is a search's, by the job's id."""
        table = tables.search_jobs
        with self._database.read_transaction() as connection:
            rows = connection.execute(sa.select(table.c.job_id, table.c.search_id))
            return {row.job_id: row.search_id for row in rows}

    def committed_cost(self, search_id: str) -> int:
        """What its jobs have paid, keep back and may have paid, in nano-dollars."""
        jobs, own = tables.jobs, tables.search_jobs
        total = sa.func.sum(jobs.c.spent + jobs.c.reserved + jobs.c.in_doubt)
        query = sa.select(sa.func.coalesce(total, 0)).join(own, own.c.job_id == jobs.c.id)
        with self._database.read_transaction() as connection:
            return int(connection.execute(query.where(own.c.search_id == search_id)).scalar_one())

    def find(self, ref: str) -> SearchRecord:
        """The search whose id or name begins so; the newest of several alike names.

        Raises:
            JobNotFoundError: there is none.
        """
        table = tables.searches
        exact = (table.c.id == ref) | (table.c.name == ref)
        begins = table.c.id.startswith(ref, autoescape=True)
        with self._database.read_transaction() as connection:
            for condition in (exact, begins) if ref else ():
                query = sa.select(table).where(condition).order_by(table.c.created_at.desc())
                if row := connection.execute(query).first():
                    return _search_from_row(row)
        why = "no search of that id or name; archon-batch search status lists them"
        raise JobNotFoundError(ref, why)

    def all(self) -> list[SearchRecord]:
        """Every search, the newest first."""
        query = sa.select(tables.searches).order_by(tables.searches.c.created_at.desc())
        with self._database.read_transaction() as connection:
            return [_search_from_row(row) for row in connection.execute(query)]


def _search_from_row(row: ResultRow) -> SearchRecord:
    return SearchRecord(
        id=row.id,
        name=row.name,
        request=json.loads(row.asked),
        state=row.state,
        reason=row.reason,
        budget=row.budget,
        result=None if row.result is None else json.loads(row.result),
        created_at=as_utc(row.created_at),
        ended_at=as_utc(row.ended_at),
    )
