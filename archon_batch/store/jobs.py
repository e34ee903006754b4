"""Jobs in the database: made once, found again, and moved from state to state."""

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
from archon_batch.store import tables
from archon_batch.store.attempts import lock_jobs
from archon_batch.store.compiled_sql import ResultRow, fetch_rows
from archon_batch.store.database import Database
from archon_batch.store.text_values import storable
from archon_batch.store.timestamps import now, parse_timestamp

#: Rows that are inserted by one statement.
_ROWS_PER_INSERT = 1_000


@dataclass(frozen=True, slots=True)
class NewItem:
    """A row on its way into a job; with a reason, it is given up from the start."""

    row_id: str
    question: Question
    extras: Mapping[str, object]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """What ``submit`` makes."""

    #: The hash of all that makes two submissions one.
    submit_key: str
    name: str
    dataset: str
    architecture: Mapping[str, object]
    prices: Mapping[str, Price | None]
    options: Mapping[str, object]
    #: Items in a shard.
    shard_size: int
    #: Shards under way at once.
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
    #: What its models were seen to count beyond what they were asked for.
    overbilling: Mapping[str, Overbilling] = field(default_factory=dict)


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get_or_create(self, new: NewJob, items: Iterable[NewItem]) -> tuple[Job, bool]:
        """Make the job and its items, or find the one that the same submission made before.

        Returns:
            The job, and whether it is new. All of it is in the database, or none.
        """
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, new.submit_key)
            known = connection.execute(
                sa.select(tables.jobs.c.id).where(tables.jobs.c.submit_key == new.submit_key)
            ).scalar()
            job_id = known or new.submit_key[:12]
            if known is None:
                connection.execute(sa.insert(tables.jobs), _job_row(job_id, new))
                rows = 0
                numbered = enumerate(items)
                while chunk := list(islice(numbered, _ROWS_PER_INSERT)):
                    rows += len(chunk)
                    connection.execute(
                        sa.insert(tables.items),
                        [_item_row(job_id, ix, ix // new.shard_size, item) for ix, item in chunk],
                    )
                connection.execute(_where_job(job_id, sa.update(tables.jobs)).values(rows=rows))
            return _job_from_row(_fetch_job(connection, job_id)), known is None

    def find(self, ref: str) -> Job:
        """The job of that id, or of that name if there is one, or whose id begins so.

        Raises:
            JobNotFoundError: there is none, or there are several.
        """
        table = tables.jobs
        conditions = [table.c.id == ref, table.c.name == ref]
        if ref:
            # Every name begins with nothing, which is what a variable has that was never set.
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
                    listed = ", ".join(f"{row.id} ({row.name})" for row in rows)
                    raise JobNotFoundError(ref, f"several jobs fit: {listed}")
        raise JobNotFoundError(ref, "no job of that id or name; archon-batch jobs lists them")

    def all(self) -> list[Job]:
        """Every job, the newest first."""
        with self._database.read_transaction() as connection:
            query = sa.select(tables.jobs).order_by(tables.jobs.c.created_at.desc())
            return [_job_from_row(row) for row in connection.execute(query)]

    def newest_named(self, name: str) -> Job | None:
        """The newest job of that very name."""
        query = sa.select(tables.jobs).where(tables.jobs.c.name == name)
        with self._database.read_transaction() as connection:
            row = connection.execute(query.order_by(tables.jobs.c.created_at.desc())).first()
        return None if row is None else _job_from_row(row)

    def get(self, job_id: str) -> Job:
        """The job of that very id.

        Raises:
            JobNotFoundError: there is none.
        """
        with self._database.read_transaction() as connection:
            return _job_from_row(_fetch_job(connection, job_id))

    def change_state(
        self, job_id: str, state: str, *, from_states: Iterable[str], reason: str | None = None
    ) -> bool:
        """Change the job's state if it is in one of those named; return whether it was."""
        ends = state in ("done", "cancelled")
        with self._database.write_transaction() as connection:
            changed = connection.execute(
                _where_job(job_id, sa.update(tables.jobs))
                .where(tables.jobs.c.state.in_(list(from_states)))
                .values(state=state, reason=storable(reason), ended_at=now() if ends else None)
            )
            return changed.rowcount == 1

    def resume(
        self, job_id: str, *, from_states: Iterable[str], budget: NanoUsd | None = None
    ) -> Job:
        """Have the job run if it is in one of those states, under a new budget if there is one.

        Return the job as it is then.
        """
        table = tables.jobs
        goes_on = _where_job(job_id, sa.update(table)).where(table.c.state.in_(list(from_states)))
        with self._database.write_transaction() as connection:
            if budget is not None:
                connection.execute(_where_job(job_id, sa.update(table)).values(budget=budget))
            connection.execute(goes_on.values(state="running", reason=None, ended_at=None))
            return _job_from_row(_fetch_job(connection, job_id))

    def mark_done_if_complete(self, job_id: str) -> bool:
        """The job is done, unless an item of it is open or it was cancelled.

        Return whether no item is open.
        """
        items = tables.items.c
        left = sa.select(items.ix).where(items.job_id == job_id, items.status == "open").limit(1)
        with self._database.write_transaction() as connection:
            # Who opens rows again has it until they are open.
            lock_jobs(connection, [job_id])
            if connection.execute(left).first() is not None:
                return False
            over = tables.jobs.c.state.in_(["running", "paused", "stopped"])
            done = {"state": "done", "reason": None, "ended_at": now()}
            connection.execute(
                _where_job(job_id, sa.update(tables.jobs)).where(over).values(**done)
            )
            return True

    def set_budget(self, job_id: str, budget: NanoUsd | None) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_where_job(job_id, sa.update(tables.jobs)).values(budget=budget))

    def record_overbilling(self, job_id: str, model: str, overbilling: Overbilling) -> None:
        """Keep what the model was seen to count beyond what it was asked for, with the job."""
        own = tables.jobs.c
        with self._database.write_transaction() as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(own.options).where(own.id == job_id)
            options = json.loads(connection.execute(query).scalar_one())
            known = _overbilling_from_options(options)
            known[model] = known.get(model, Overbilling()).merged_with(overbilling)
            options["beyond"] = {name: astuple(one) for name, one in known.items()}
            changed = sa.update(tables.jobs).values(options=json.dumps(options))
            connection.execute(_where_job(job_id, changed))

    def set_priority(self, job_id: str, priority: str) -> None:
        with self._database.write_transaction() as connection:
            connection.execute(_where_job(job_id, sa.update(tables.jobs)).values(priority=priority))


def _where_job(job_id: str, update: sa.Update) -> sa.Update:
    return update.where(tables.jobs.c.id == job_id)


def _fetch_job(connection: Connection, job_id: str) -> ResultRow:
    found = fetch_rows(connection, _job_query, job=job_id)
    if not found:
        raise JobNotFoundError(job_id, "no job of that id; archon-batch jobs lists them")
    return found[0]


def _job_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(tables.jobs).where(tables.jobs.c.id == sa.bindparam("job"))


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
        "shard": new.shard_size,
        "width": new.concurrent_shards,
        "state": "running",
        "priority": new.priority,
        "budget": new.budget,
        "spent": 0,
        "reserved": 0,
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
    return {model: Overbilling(*seen) for model, seen in options.get("beyond", {}).items()}


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
        shard_size=row.shard,
        concurrent_shards=row.width,
        state=row.state,
        reason=row.reason,
        budget=row.budget,
        spent=row.spent,
        held=row.reserved,
        in_doubt=row.in_doubt,
        created_at=parse_timestamp(row.created_at),
        ended_at=row.ended_at and parse_timestamp(row.ended_at),
        priority=row.priority,
        overbilling=_overbilling_from_options(options),
    )
