"""Attempts that begin: nothing is sent that is not on record, nothing that the budget does not cover.

A batch is decided inside a transaction that another opened, so that many attempts share a commit.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import tables
from archon_batch.store.attempts import (
    CALL_KEY_COLUMNS,
    RATE_LIMIT,
    WORKER_DIED,
    Admission,
    Admitted,
    AlreadySettled,
    AttemptRequest,
    BudgetExhausted,
    BudgetWait,
    CacheHit,
    DuplicateInFlight,
    JobNotRunning,
    PoisonPill,
    add_money,
    call_columns,
    insert_reply,
    lock_jobs,
    settled_call_row,
)
from archon_batch.store.compiled_sql import (
    ResultRow,
    execute_many,
    fetch_rows,
    json_param,
    where_in,
)
from archon_batch.store.timestamps import parse_timestamp

#: What is known of an attempt when it begins.
_REQUEST_COLUMNS = (
    "job_id", "ix", "key", "n", "layer", "component", "kind", "model", "fingerprint", "owner",
    "state", "reserve", "estimated", "counts", "dropped", "begun_at", "expires_at",
)  # fmt: skip
#: Processes that may die over a call before it is taken to be what kills them.
MAX_PROCESS_DEATHS = 3


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the database says of a batch, and what the batch itself adds as it is decided."""

    jobs: Mapping[str, ResultRow]
    attempts: Mapping[tuple[str, int, str], Sequence[ResultRow]]
    cached: Mapping[str, ResultRow]
    settled: set[tuple[str, int, str]]
    requests_in_flight: set[str]
    #: Calls that this batch has begun.
    admitted: set[tuple[str, int, str]] = field(default_factory=set)
    #: Kept back by this batch, by job.
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def admit(connection: Connection, requests: Sequence[AttemptRequest]) -> list[Admission]:
    """Decide for each whether it may be sent, and put those that may on record."""
    facts = _Snapshot(
        jobs=lock_jobs(connection, {s.call.job_id for s in requests}),
        attempts=_previous_attempts(connection, requests),
        cached=_cached_completions(connection, requests),
        settled=_settled_calls(connection, requests),
        requests_in_flight=_requests_in_flight(connection, requests),
    )
    inserts: list[dict[str, Any]] = []
    copies: list[dict[str, Any]] = []
    results: list[Admission] = []
    for start in requests:
        verdict = _decide(facts, start)
        if isinstance(verdict, CacheHit):
            facts.settled.add(start.call.as_tuple)
            copies.append(_cached_call_row(start, facts.cached[start.fingerprint]))
        elif isinstance(verdict, PoisonPill):
            facts.settled.add(start.call.as_tuple)
            copies.append(_poison_pill_row(start))
        elif isinstance(verdict, Admitted) and not _is_own_retry(facts, start):
            facts.held[start.call.job_id] += start.hold or 0
            facts.admitted.add(start.call.as_tuple)
            facts.requests_in_flight.add(start.fingerprint)
            inserts.append(_attempt_row(start, verdict.attempt_number))
        results.append(verdict)
    execute_many(connection, insert_reply, copies)
    execute_many(connection, _insert_attempt, inserts)
    add_money(connection, {job: {"reserved": amount} for job, amount in facts.held.items()})
    return results


def _decide(facts: _Snapshot, start: AttemptRequest) -> Admission:
    before = facts.attempts.get(start.call.as_tuple, ())
    job = facts.jobs[start.call.job_id]
    open_already = start.call.as_tuple in facts.admitted or any(
        a.state == "sending" for a in before
    )
    if start.call.as_tuple in facts.settled:
        return AlreadySettled()
    if _is_own_retry(facts, start):
        return _admitted(before, before[-1].n)
    if start.use_cache and start.fingerprint in facts.cached:
        return CacheHit()
    if job.state != "running":
        return JobNotRunning()
    if _deaths(before) >= MAX_PROCESS_DEATHS:
        return PoisonPill()
    if open_already or (start.use_cache and start.fingerprint in facts.requests_in_flight):
        return DuplicateInFlight()
    if not _fits_budget(job, facts.held[job.id], start.hold):
        return BudgetWait() if job.reserved + facts.held[job.id] else BudgetExhausted()
    return _admitted(before, before[-1].n + 1 if before else 1)


def _deaths(before: Sequence[ResultRow]) -> int:
    return sum(a.counts and a.outcome == WORKER_DIED for a in before)


def _is_own_retry(facts: _Snapshot, start: AttemptRequest) -> bool:
    """Whether an earlier commit of this very start went through although it seemed to fail."""
    before = facts.attempts.get(start.call.as_tuple, ())
    return any(
        a.state == "sending"
        and a.owner == start.owner
        and parse_timestamp(a.begun_at) == start.begun_at
        for a in before
    )


def _admitted(before: Sequence[ResultRow], n: int) -> Admitted:
    counted = [a for a in before if a.counts and a.n < n]
    in_doubt = sum(a.state == "in_doubt" for a in counted)
    refused = sum(a.state == "not_billed" and a.outcome == RATE_LIMIT for a in counted)
    return Admitted(n, len(counted) + 1, in_doubt, refused)


def _fits_budget(job: ResultRow, more: int, reserve: int | None) -> bool:
    if job.budget is None:
        return True
    committed = job.spent + job.reserved + job.in_doubt + more
    # At the budget nothing more starts, not even what costs nothing.
    return bool(committed < job.budget and committed + (reserve or 0) <= job.budget)


def _settled_calls(
    connection: Connection, starts: Sequence[AttemptRequest]
) -> set[tuple[str, int, str]]:
    rows = fetch_rows(
        connection, _settled_calls_query, calls=json_param(s.call.as_tuple for s in starts)
    )
    return {(row.job_id, row.ix, row.key) for row in rows}


def _settled_calls_query(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    call = (tables.calls.c.job_id, tables.calls.c.ix, tables.calls.c.key)
    return where_in(sa.select(*call), call, "calls", sqlite=sqlite)


def _previous_attempts(
    connection: Connection, starts: Sequence[AttemptRequest]
) -> dict[tuple[str, int, str], list[ResultRow]]:
    found: dict[tuple[str, int, str], list[ResultRow]] = defaultdict(list)
    for row in fetch_rows(
        connection, _previous_attempts_query, calls=json_param(s.call.as_tuple for s in starts)
    ):
        found[row.job_id, row.ix, row.key].append(row)
    return found


def _previous_attempts_query(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    table = tables.attempts
    columns = [table.c[name] for name in ("n", "state", "owner", "begun_at", "counts", "outcome")]
    query = sa.select(*CALL_KEY_COLUMNS, *columns).order_by(table.c.n)
    return where_in(query, CALL_KEY_COLUMNS, "calls", sqlite=sqlite)


def _requests_in_flight(connection: Connection, starts: Sequence[AttemptRequest]) -> set[str]:
    wanted = [(s.fingerprint,) for s in starts if s.use_cache]
    if not wanted:
        return set()
    return {
        row.fingerprint
        for row in fetch_rows(connection, _requests_in_flight_query, requests=json_param(wanted))
    }


def _requests_in_flight_query(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.attempts.c
    query = sa.select(c.fingerprint).where(c.state == sa.literal_column("'sending'"))
    return where_in(query, [c.fingerprint], "requests", sqlite=sqlite)


def _cached_completions(
    connection: Connection, starts: Sequence[AttemptRequest]
) -> dict[str, ResultRow]:
    wanted = [(s.fingerprint,) for s in starts if s.use_cache]
    if not wanted:
        return {}
    rows = fetch_rows(connection, _cached_completions_query, requests=json_param(wanted))
    return {row.fingerprint: row for row in rows}


def _cached_completions_query(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.completions.c
    query = sa.select(c.fingerprint, c.text, c.finish, c.cost)
    return where_in(query, [c.fingerprint], "requests", sqlite=sqlite)


def _insert_attempt(_sqlite: bool) -> sa.Insert:
    return sa.insert(tables.attempts).values(
        {name: sa.bindparam(name, type_=tables.attempts.c[name].type) for name in _REQUEST_COLUMNS}
    )


def _attempt_row(start: AttemptRequest, n: int) -> dict[str, Any]:
    return {
        **call_columns(start),
        "n": n,
        "owner": start.owner,
        "state": "sending",
        "reserve": start.hold or 0,
        "estimated": False,
        "counts": True,
        "dropped": False,
        "begun_at": start.begun_at,
        "expires_at": start.begun_at + timedelta(seconds=start.expires_after),
    }


def _cached_call_row(start: AttemptRequest, found: ResultRow) -> dict[str, Any]:
    return settled_call_row(
        start, start.begun_at, text=found.text, finish=found.finish, cached=True, saved=found.cost
    )


def _poison_pill_row(start: AttemptRequest) -> dict[str, Any]:
    return settled_call_row(
        start, start.begun_at, failure=f"poison: {MAX_PROCESS_DEATHS} processes died over it"
    )
