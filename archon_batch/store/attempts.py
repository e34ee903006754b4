"""An attempt's beginning and end as values, and the parts of the database that both move."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.ledger import NanoUsd
from archon_batch.store import tables

#: A row of a query.
Record = Row[*tuple[Any, ...]]

#: The outcome of an attempt whose process died.
WORKER_DIED = "worker_died"

#: The columns that name a call.
CALL = (tables.attempts.c.job_id, tables.attempts.c.ix, tables.attempts.c.key)


@dataclass(frozen=True, slots=True)
class CallId:
    job: str
    ix: int
    key: CallKey

    @property
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


def lock(connection: Connection, jobs: Collection[str]) -> None:
    """Take the right to change attempts and money of these jobs, in one order of jobs.

    Whoever changes either has it first: two who take rows of Postgres each in their own order
    wait for each other. It lets in what only refers to the jobs.
    """
    if jobs:
        query = sa.select(tables.jobs.c.id).where(tables.jobs.c.id.in_(sorted(jobs)))
        connection.execute(query.order_by(tables.jobs.c.id).with_for_update(key_share=True))


def move(connection: Connection, money: Mapping[str, Mapping[str, int]]) -> None:
    """Change the money of jobs by so much, in SQL and in one order of jobs."""
    for job, amounts in sorted(money.items()):
        changes = {
            column: tables.jobs.c[column] + amount for column, amount in amounts.items() if amount
        }
        if changes:
            connection.execute(
                sa.update(tables.jobs).where(tables.jobs.c.id == job).values(**changes)
            )


def once(connection: Connection, table: sa.Table) -> Any:  # noqa: ANN401
    """An insert that leaves a row that is there as it is."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def settled(start: Start, at: datetime, **reply: Any) -> dict[str, Any]:  # noqa: ANN401
    """The columns of a call that has its reply, with what there is of one."""
    nothing = {"text": None, "failure": None, "finish": None, "cached": False, "saved": None}
    return {**about(start), **nothing, **reply, "settled_at": at}


def about(start: Start) -> dict[str, Any]:
    """The columns that a call and its attempts have in common."""
    return {
        "job_id": start.call.job,
        "ix": start.call.ix,
        "key": str(start.call.key),
        "layer": start.call.key.layer,
        "component": start.call.key.component,
        "kind": start.kind,
        "model": start.model,
        "fingerprint": start.fingerprint,
    }
