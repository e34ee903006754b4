"""Jobs: created once per submission, found by id or name, and moved from state to state."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.archon import Question
from archon_batch.errors import JobNotFoundError
from archon_batch.money import NanoUsd, Overbilling, Price
from archon_batch.store import schema
from archon_batch.store.attempts import lock_jobs
from archon_batch.store.compiled_sql import ResultRow, fetch_rows
from archon_batch.store.database import Database
from archon_batch.store.sql_values import now, parse_timestamp, storable

#: Rows per insert statement.
_ROWS_PER_INSERT = 1_000


@dataclass(frozen=True, slots=True)
class NewItem:
    """A row of a new job; with a reason, it has failed from the start."""

    row_id: str
    question: Question
    extras: Mapping[str, object]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as ``submit`` creates it."""

    #: A hash; submissions with the same key are one job.
    submit_key: str
    name: str
    dataset: str
    architecture: Mapping[str, object]
    prices: Mapping[str, Price | None]
    options: Mapping[str, object]
    #: Items per shard.
    shard_size: int
    #: Shards in progress at the same time.
    concurrent_shards: int
    budget: NanoUsd | None
    #: high, normal or low.
    priority: str = "normal"


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    name: str
    dataset: str
    architecture: Mapping[str, Any]
    prices: Mapping[str, Price | None]
    options: Mapping[str, Any]
    rows: int
    shard_size: int
    concurrent_shards: int
    #: running, paused, stopped, cancelled or done.
    state: str
    reason: str | None
    budget: NanoUsd | None
    spent: NanoUsd
    held: NanoUsd
    in_doubt: NanoUsd
    created_at: datetime
    ended_at: datetime | None
    #: high, normal or low.
    priority: str = "normal"
    #: By model: tokens that it was seen to bill beyond the maximum.
    overbilling: Mapping[str, Overbilling] = field(default_factory=dict)


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get_or_create(self, new: NewJob, items: Iterable[NewItem]) -> tuple[Job, bool]:
        """Create the job and its items in one transaction, or find the job of an earlier submission.

        Returns:
            The job, and whether it is new.
        """
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, new.submit_key)
            existing = connection.execute(
                sa.select(schema.jobs.c.id).where(schema.jobs.c.submit_key == new.submit_key)
            ).scalar()
            job_id = existing or new.submit_key[:12]
            if existing is None:
                connection.execute(sa.insert(schema.jobs), _job_row(job_id, new))
                rows = 0
                numbered = enumerate(items)
                while chunk := list(islice(numbered, _ROWS_PER_INSERT)):
                    rows += len(chunk)
                    connection.execute(
                        sa.insert(schema.items),
                        [_item_row(job_id, ix, ix // new.shard_size, item) for ix, item in chunk],
                    )
                connection.execute(_where_job(job_id, sa.update(schema.jobs)).values(rows=rows))
            return _job_from_row(_fetch_job(connection, job_id)), existing is None

    def find(self, ref: str) -> Job:
        """Find a job by id, name, or a unique prefix of either.

        Raises:
            JobNotFoundError: there is none, or there are several.
        """
        table = schema.jobs
        conditions = [table.c.id == ref, table.c.name == ref]
        if ref:
            # Every name starts with an empty string, which an unset shell variable gives.
            conditions += [
                table.c.id.startswith(ref, autoescape=True),
                table.c.name.startswith(ref, autoescape=True),
            ]
        with self._database.read_transaction() as connection:
            for condition in conditions:
                rows = connection.execute(sa.select(table).where(condition).limit(6)).all()
                if len(rows) == 1:
                    return _job_from_row(rows[0])
                if rows:
                    matches = ", ".join(f"{row.id} ({row.name})" for row in rows)
                    raise JobNotFoundError(ref, f"several jobs match: {matches}")
        raise JobNotFoundError(ref, "no job with this id or name; archon-batch jobs lists them")

    def all(self) -> list[Job]:
        """Every job, the newest first."""
        with self._database.read_transaction() as connection:
            query = sa.select(schema.jobs).order_by(schema.jobs.c.created_at.desc())
            return [_job_from_row(row) for row in connection.execute(query)]

    def newest_named(self, name: str) -> Job | None:
        """The newest job with exactly this name."""
        query = sa.select(schema.jobs).where(schema.jobs.c.name == name)
        with self._database.read_transaction() as connection:
            row = connection.execute(query.order_by(schema.jobs.c.created_at.desc())).first()
        return None if row is None else _job_from_row(row)

    def get(self, job_id: str) -> Job:
        """The job with exactly this id.

        Raises:
            JobNotFoundError: there is none.
        """
        with self._database.read_transaction() as connection:
            return _job_from_row(_fetch_job(connection, job_id))

    def change_state(
        self, job_id: str, state: str, *, from_states: Iterable[str], reason: str | None = None
    ) -> bool:
        """Change the job's state if it is one of ``from_states``; return whether it was."""
        ends = state in ("done", "cancelled")
        with self._database.write_transaction() as connection:
            changed = connection.execute(
                _where_job(job_id, sa.update(schema.jobs))
                .where(schema.jobs.c.state.in_(list(from_states)))
                .values(state=state, reason=storable(reason), ended_at=now() if ends else None)
            )
            return changed.rowcount == 1

    def resume(
        self, job_id: str, *, from_states: Iterable[str], budget: NanoUsd | None = None
    ) -> Job:
        """Run the job if its state is one of ``from_states``; set a new budget if given.

        Return the updated job.
        """
        table = schema.jobs
        resume = _where_job(job_id, sa.update(table)).where(table.c.state.in_(list(from_states)))
        with self._database.write_transaction() as connection:
            if budget is not None:
                connection.execute(_where_job(job_id, sa.update(table)).values(budget=budget))
            connection.execute(resume.values(state="running", reason=None, ended_at=None))
            return _job_from_row(_fetch_job(connection, job_id))

    def mark_done_if_complete(self, job_id: str) -> bool:
        """Mark the job done, unless it has an open item or was cancelled.

        Return whether no item is open.
        """
        items = schema.items.c
        open_item = (
            sa.select(items.ix).where(items.job_id == job_id, items.status == "open").limit(1)
        )
        with self._database.write_transaction() as connection:
            # Opening items again holds this lock until they are open.
            lock_jobs(connection, [job_id])
            if connection.execute(open_item).first() is not None:
                return False
            can_end = schema.jobs.c.state.in_(["running", "paused", "stopped"])
            done = {"state": "done", "reason": None, "ended_at": now()}
            connection.execute(
                _where_job(job_id, sa.update(schema.jobs)).where(can_end).values(**done)
            )
            return True

    def set_budget(self, job_id: str, budget: NanoUsd | None) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_where_job(job_id, sa.update(schema.jobs)).values(budget=budget))

    def record_overbilling(self, job_id: str, model: str, overbilling: Overbilling) -> None:
        """Store a model's overbilling with the job; values only grow."""
        c = schema.jobs.c
        with self._database.write_transaction() as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(c.options).where(c.id == job_id)
            options = json.loads(connection.execute(query).scalar_one())
            stored = _overbilling_from_options(options)
            stored[model] = stored.get(model, Overbilling()).merged_with(overbilling)
            options["overbilling"] = {name: astuple(one) for name, one in stored.items()}
            changed = sa.update(schema.jobs).values(options=json.dumps(options))
            connection.execute(_where_job(job_id, changed))

    def set_priority(self, job_id: str, priority: str) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_where_job(job_id, sa.update(schema.jobs)).values(priority=priority))


def _where_job(job_id: str, update: sa.Update) -> sa.Update:
    return update.where(schema.jobs.c.id == job_id)


def _fetch_job(connection: Connection, job_id: str) -> ResultRow:
    found = fetch_rows(connection, _job_query, job=job_id)
    if not found:
        raise JobNotFoundError(job_id, "no job with this id; archon-batch jobs lists them")
    return found[0]


def _job_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(schema.jobs).where(schema.jobs.c.id == sa.bindparam("job"))


def _job_row(job_id: str, new: NewJob) -> dict[str, Any]:
    prices = {m: None if p is None else astuple(p) for m, p in new.prices.items()}
    return {
        "id": job_id,
        "submit_key": new.submit_key,
        "name": new.name,
        "dataset": new.dataset,
        "architecture": json.dumps(new.architecture),
        "prices": json.dumps(prices),
        "options": json.dumps(new.options),
        "rows": 0,
        "shard_size": new.shard_size,
        "concurrent_shards": new.concurrent_shards,
        "state": "running",
        "priority": new.priority,
        "budget": new.budget,
        "spent": 0,
        "held": 0,
        "in_doubt": 0,
        "created_at": now(),
    }


def _item_row(job_id: str, ix: int, shard: int, item: NewItem) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "ix": ix,
        "shard": shard,
        "row_id": item.row_id,
        "messages": json.dumps([[m.role, m.content] for m in item.question.messages]),
        "extras": json.dumps(item.extras),
        "status": "open" if item.reason is None else "failed",
        "reason": item.reason,
        "ended_at": None if item.reason is None else now(),
    }


def _overbilling_from_options(options: Mapping[str, Any]) -> dict[str, Overbilling]:
    return {model: Overbilling(*seen) for model, seen in options.get("overbilling", {}).items()}


def _job_from_row(row: ResultRow) -> Job:
    prices, options = json.loads(row.prices).items(), json.loads(row.options)
    return Job(
        id=row.id,
        name=row.name,
        dataset=row.dataset,
        architecture=json.loads(row.architecture),
        prices={model: None if pair is None else Price(*pair) for model, pair in prices},
        options=options,
        rows=row.rows,
        shard_size=row.shard_size,
        concurrent_shards=row.concurrent_shards,
        state=row.state,
        reason=row.reason,
        budget=row.budget,
        spent=row.spent,
        held=row.held,
        in_doubt=row.in_doubt,
        created_at=parse_timestamp(row.created_at),
        ended_at=row.ended_at and parse_timestamp(row.ended_at),
        priority=row.priority,
        overbilling=_overbilling_from_options(options),
    )
