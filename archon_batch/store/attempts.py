"""Attempts as values, and the statements that admission and settlement share."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd
from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow, execute_many, fetch_rows
from archon_batch.store.sql_values import now, parse_timestamp

#: The outcome of an attempt whose process died, and of one that a rate limit rejected.
WORKER_DIED, RATE_LIMIT = "worker_died", "rate_limit"

_MONEY_COLUMNS = ("spent", "held", "in_doubt")
#: The columns that identify a call.
CALL_KEY_COLUMNS = (schema.attempts.c.job_id, schema.attempts.c.ix, schema.attempts.c.key)


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
    """A request to begin an attempt."""

    call: CallId
    kind: str
    model: str
    fingerprint: str
    #: The most it can cost; None if the model has no price.
    hold: NanoUsd | None
    #: Seconds after which the attempt is certainly over.
    expires_after: float
    #: Whether a cached completion may be used.
    use_cache: bool
    owner: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Admitted:
    """The attempt is recorded and may be sent."""

    attempt_number: int
    #: Attempts that count towards the call's maximum, including this one.
    counted_attempts: int
    #: Earlier counted attempts that are in doubt.
    in_doubt: int
    #: Earlier counted attempts that a rate limit rejected.
    rate_limited: int = 0


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The call already has a reply."""


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A cached completion of the same request has become the call's reply."""


@dataclass(frozen=True, slots=True)
class PoisonPill:
    """Several processes died while executing the call; it has failed."""


@dataclass(frozen=True, slots=True)
class DuplicateInFlight:
    """Wait: the same request is in flight."""


@dataclass(frozen=True, slots=True)
class BudgetWait:
    """Wait: calls in flight hold the rest of the budget, and may cost less than they hold."""


@dataclass(frozen=True, slots=True)
class JobNotRunning:
    """The job is not running."""


@dataclass(frozen=True, slots=True)
class BudgetExhausted:
    """The budget does not cover another call, and no call in flight will change that."""


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
    #: ok, or the reason why there is no answer.
    outcome: str
    detail: str | None
    usage: Usage
    cost: NanoUsd | None
    estimated: bool
    #: The reply that settles the call; None if the call stays open.
    reply: Reply | None
    ended_at: datetime


def unsent_result(request: AttemptRequest, attempt_number: int, why: str) -> AttemptResult:
    """The result of an attempt that is perhaps recorded, but was not sent."""
    return AttemptResult(
        request=request,
        attempt_number=attempt_number,
        billing=Billing.NOT_SENT,
        outcome="unreachable",
        detail=why,
        usage=Usage(),
        cost=NanoUsd(0),
        estimated=False,
        reply=None,
        ended_at=now(),
    )


def is_request_of(row: Any, request: AttemptRequest) -> bool:  # noqa: ANN401
    """Whether the recorded attempt is the one that this very request began."""
    return bool(row.owner == request.owner and parse_timestamp(row.begun_at) == request.begun_at)


def lock_jobs(connection: Connection, job_ids: Collection[str]) -> dict[str, ResultRow]:
    """Lock the jobs, in sorted order, and return their state and money.

    Every change of attempts or money needs this lock first: two transactions that lock Postgres
    rows in different orders deadlock. Rows that only refer to a job can still be inserted.
    """
    rows = (fetch_rows(connection, _lock_job_query, id=job_id) for job_id in sorted(job_ids))
    return {job.id: job for jobs in rows for job in jobs}


def _lock_job_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.jobs.c
    query = sa.select(c.id, c.state, c.budget, c.spent, c.held, c.in_doubt)
    # FOR UPDATE would conflict with foreign keys: two transactions that have each inserted a row
    # referring to the job could never lock it.
    return query.where(c.id == sa.bindparam("id")).with_for_update(key_share=True)


def add_money(connection: Connection, amounts: Mapping[str, Mapping[str, int]]) -> None:
    """Add the amounts to the money columns of jobs, by job and column, in sorted order."""
    zeros = dict.fromkeys(_MONEY_COLUMNS, 0)
    rows = [
        {"of_job": job_id, **zeros, **changes}
        for job_id, changes in sorted(amounts.items())
        if any(changes.values())
    ]
    execute_many(connection, _add_money_update, rows)


def _add_money_update(_sqlite: bool) -> sa.Update:
    c = schema.jobs.c
    changes = {name: c[name] + sa.bindparam(name, type_=c[name].type) for name in _MONEY_COLUMNS}
    return sa.update(schema.jobs).where(c.id == sa.bindparam("of_job")).values(changes)


def insert_ignore(table: sa.Table, *, is_sqlite: bool) -> Any:  # noqa: ANN401
    """An insert that leaves an existing row unchanged."""
    insert = sqlite.insert if is_sqlite else postgresql.insert
    columns = {column.name: sa.bindparam(column.name, type_=column.type) for column in table.c}
    return insert(table).values(columns).on_conflict_do_nothing()


def insert_reply(is_sqlite: bool) -> Any:  # noqa: ANN401
    """The insert of a settled call; the first reply is kept."""
    return insert_ignore(schema.calls, is_sqlite=is_sqlite)


def settled_call_row(
    request: AttemptRequest,
    settled_at: datetime,
    **reply: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """The columns of a settled call; columns missing from ``reply`` are empty."""
    empty = {
        "text": None,
        "failure": None,
        "finish_reason": None,
        "cached": False,
        "cache_saved": None,
    }
    return {**call_columns(request), **empty, **reply, "settled_at": settled_at}


def call_columns(request: AttemptRequest) -> dict[str, Any]:
    """The columns that a call and its attempts share."""
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
