"""An attempt's beginning and end as values, and the parts of the database that both move."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.engine import Connection

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd
from archon_batch.store import tables
from archon_batch.store.compiled_sql import ResultRow, execute_many, fetch_rows

#: The outcome of an attempt whose process died, and of one that a rate limit turned away.
WORKER_DIED, RATE_LIMIT = "worker_died", "rate_limit"

#: The money of a job that moves.
_MONEY_COLUMNS = ("spent", "reserved", "in_doubt")
#: The columns that name a call.
CALL_KEY_COLUMNS = (tables.attempts.c.job_id, tables.attempts.c.ix, tables.attempts.c.key)


@dataclass(frozen=True)
class CallId:
    job_id: str
    ix: int
    key: CallKey

    @cached_property
    def as_tuple(self) -> tuple[str, int, str]:
        return self.job_id, self.ix, str(self.key)


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """An attempt that wants to begin."""

    call: CallId
    kind: str
    model: str
    fingerprint: str
    #: The most it can cost; None when the model has no price.
    hold: NanoUsd | None
    #: Seconds after which it is certainly over.
    expires_after: float
    #: Whether a completion that was paid for before may be taken.
    use_cache: bool
    owner: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Admitted:
    """The attempt is on record and may be sent."""

    attempt_number: int
    #: How many attempts count against the call's bound, with this one.
    counted_attempts: int
    #: How many of those before are in doubt.
    in_doubt: int
    #: How many of those before a rate limit turned away.
    rate_limited: int = 0


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The call has its reply from before."""


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A completion of the same request was found, and has become the call's reply."""


@dataclass(frozen=True, slots=True)
class PoisonPill:
    """Process after process died over the call; it has become a failure."""


@dataclass(frozen=True, slots=True)
class DuplicateInFlight:
    """Wait: the same request is on the wire."""


@dataclass(frozen=True, slots=True)
class BudgetWait:
    """Wait: what is left of the budget is kept back for calls in flight, which may cost less."""


@dataclass(frozen=True, slots=True)
class JobNotRunning:
    """The job is not running: nothing is begun."""


@dataclass(frozen=True, slots=True)
class BudgetExhausted:
    """The budget does not cover one more call, and nothing in flight will change that."""


Admission = (
    Admitted
    | AlreadySettled
    | CacheHit
    | PoisonPill
    | DuplicateInFlight
    | BudgetWait
    | JobNotRunning
    | BudgetExhausted
)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended."""

    request: AttemptRequest
    attempt_number: int
    billing: Billing
    #: ok, or the reason there is no answer.
    outcome: str
    detail: str | None
    usage: Usage
    cost: NanoUsd | None
    estimated: bool
    #: What settles the call; None when it stays open, for another attempt or another day.
    reply: Reply | None
    ended_at: datetime


def lock_jobs(connection: Connection, job_ids: Collection[str]) -> dict[str, ResultRow]:
    """Take the right to change attempts and money of these jobs, in one order of jobs.

    Whoever changes either has it first: two who take rows of Postgres each in their own order
    wait for each other. It lets in what only refers to the jobs. Return what the budgets say.
    """
    found = (fetch_rows(connection, _lock_job_query, id=job) for job in sorted(job_ids))
    return {row.id: row for rows in found for row in rows}


def _lock_job_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    table = tables.jobs
    columns = (
        table.c.id, table.c.state, table.c.budget,
        table.c.spent, table.c.reserved, table.c.in_doubt,
    )  # fmt: skip
    query = sa.select(*columns).where(table.c.id == sa.bindparam("id"))
    # Not the lock that shuts out whoever refers to them: two that both refer to a job already, by
    # what they have inserted, could never have it.
    return query.with_for_update(key_share=True)


def add_money(connection: Connection, money: Mapping[str, Mapping[str, int]]) -> None:
    """Change the money of jobs by so much, in SQL and in one order of jobs."""
    nothing = dict.fromkeys(_MONEY_COLUMNS, 0)
    moved = [
        {"of_job": job, **nothing, **amounts}
        for job, amounts in sorted(money.items())
        if any(amounts.values())
    ]
    execute_many(connection, _add_money_update, moved)


def _add_money_update(_sqlite: bool) -> sa.Update:
    c = tables.jobs.c
    changes = {name: c[name] + sa.bindparam(name, type_=c[name].type) for name in _MONEY_COLUMNS}
    return sa.update(tables.jobs).where(c.id == sa.bindparam("of_job")).values(changes)


def insert_ignore(table: sa.Table, *, sqlite: bool) -> Any:  # noqa: ANN401
    """An insert that leaves a row that is there as it is."""
    insert = lite.insert if sqlite else postgresql.insert
    columns = {column.name: sa.bindparam(column.name, type_=column.type) for column in table.c}
    return insert(table).values(columns).on_conflict_do_nothing()


def insert_reply(sqlite: bool) -> Any:  # noqa: ANN401
    """The insert of a call that is settled; the first reply stays."""
    return insert_ignore(tables.calls, sqlite=sqlite)


def settled_call_row(request: AttemptRequest, settled_at: datetime, **reply: Any) -> dict[str, Any]:  # noqa: ANN401
    """The columns of a call that has its reply, with what there is of one."""
    nothing = {"text": None, "failure": None, "finish": None, "cached": False, "saved": None}
    return {**call_columns(request), **nothing, **reply, "settled_at": settled_at}


def call_columns(request: AttemptRequest) -> dict[str, Any]:
    """The columns that a call and its attempts have in common."""
    return {
        "job_id": request.call.job_id,
        "ix": request.call.ix,
        "key": request.call.as_tuple[2],
        "layer": request.call.key.layer,
        "component": request.call.key.component,
        "kind": request.kind,
        "model": request.model,
        "fingerprint": request.fingerprint,
    }
