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
from archon_batch.store.compiled_sql import Record, execute, fetch

#: The outcome of an attempt whose process died, and of one that a rate limit turned away.
WORKER_DIED, RATE_LIMIT = "worker_died", "rate_limit"

#: The money of a job that moves.
_MONEY = ("spent", "reserved", "in_doubt")
#: The columns that name a call.
CALL = (tables.attempts.c.job_id, tables.attempts.c.ix, tables.attempts.c.key)


@dataclass(frozen=True)
class CallId:
    job: str
    ix: int
    key: CallKey

    @cached_property
    def row(self) -> tuple[str, int, str]:
        return self.job, self.ix, str(self.key)


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt that wants to begin."""

    call: CallId
    kind: str
    model: str
    fingerprint: str
    #: The most it can cost; None when the model has no price.
    reserve: NanoUsd | None
    #: Seconds after which it is certainly over.
    lasts: float
    #: Whether a completion that was paid for before may be taken.
    reuse: bool
    owner: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Started:
    """The attempt is on record and may be sent."""

    n: int
    #: How many attempts count against the call's bound, with this one.
    tried: int
    #: How many of those before are in doubt.
    in_doubt: int
    #: How many of those before a rate limit turned away.
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """The call has its reply from before."""


@dataclass(frozen=True, slots=True)
class Found:
    """A completion of the same request was found, and has become the call's reply."""


@dataclass(frozen=True, slots=True)
class Poisoned:
    """Process after process died over the call; it has become a failure."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Wait: the same request is on the wire."""


@dataclass(frozen=True, slots=True)
class Tight:
    """Wait: what is left of the budget is kept back for calls in flight, which may cost less."""


@dataclass(frozen=True, slots=True)
class Halted:
    """The job is not running: nothing is begun."""


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """The budget does not cover one more call, and nothing in flight will change that."""


Begun = Started | Settled | Found | Poisoned | Busy | Tight | Halted | BudgetReached


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended."""

    start: Start
    n: int
    billing: Billing
    #: ok, or the reason there is no answer.
    outcome: str
    why: str | None
    usage: Usage
    cost: NanoUsd | None
    estimated: bool
    #: What settles the call; None when it stays open, for another attempt or another day.
    reply: Reply | None
    at: datetime


def lock(connection: Connection, jobs: Collection[str]) -> dict[str, Record]:
    """Take the right to change attempts and money of these jobs, in one order of jobs.

    Whoever changes either has it first: two who take rows of Postgres each in their own order
    wait for each other. It lets in what only refers to the jobs. Return what the budgets say.
    """
    found = (fetch(connection, _locked, id=job) for job in sorted(jobs))
    return {row.id: row for rows in found for row in rows}


def _locked(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    table = tables.jobs
    columns = (
        table.c.id, table.c.state, table.c.budget,
        table.c.spent, table.c.reserved, table.c.in_doubt,
    )  # fmt: skip
    query = sa.select(*columns).where(table.c.id == sa.bindparam("id"))
    # Not the lock that shuts out whoever refers to them: two that both refer to a job already, by
    # what they have inserted, could never have it.
    return query.with_for_update(key_share=True)


def move(connection: Connection, money: Mapping[str, Mapping[str, int]]) -> None:
    """Change the money of jobs by so much, in SQL and in one order of jobs."""
    nothing = dict.fromkeys(_MONEY, 0)
    moved = [
        {"of_job": job, **nothing, **amounts}
        for job, amounts in sorted(money.items())
        if any(amounts.values())
    ]
    execute(connection, _moved, moved)


def _moved(_sqlite: bool) -> sa.Update:
    c = tables.jobs.c
    changes = {name: c[name] + sa.bindparam(name, type_=c[name].type) for name in _MONEY}
    return sa.update(tables.jobs).where(c.id == sa.bindparam("of_job")).values(changes)


def once(table: sa.Table, *, sqlite: bool) -> Any:  # noqa: ANN401
    """An insert that leaves a row that is there as it is."""
    insert = lite.insert if sqlite else postgresql.insert
    columns = {column.name: sa.bindparam(column.name, type_=column.type) for column in table.c}
    return insert(table).values(columns).on_conflict_do_nothing()


def reply_kept(sqlite: bool) -> Any:  # noqa: ANN401
    """The insert of a call that is settled; the first reply stays."""
    return once(tables.calls, sqlite=sqlite)


def settled(start: Start, at: datetime, **reply: Any) -> dict[str, Any]:  # noqa: ANN401
    """The columns of a call that has its reply, with what there is of one."""
    nothing = {"text": None, "failure": None, "finish": None, "cached": False, "saved": None}
    return {**about(start), **nothing, **reply, "settled_at": at}


def about(start: Start) -> dict[str, Any]:
    """The columns that a call and its attempts have in common."""
    return {
        "job_id": start.call.job,
        "ix": start.call.ix,
        "key": start.call.row[2],
        "layer": start.call.key.layer,
        "component": start.call.key.component,
        "kind": start.kind,
        "model": start.model,
        "fingerprint": start.fingerprint,
    }
