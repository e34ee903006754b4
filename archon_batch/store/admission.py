"""Admission: decides which attempts may be sent, and records them first.

The budget covers every admitted attempt. The caller opens the transaction, so that a batch of
requests shares one commit.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import schema
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
    is_request_of,
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

#: The columns that are known when an attempt begins.
_REQUEST_COLUMNS = (
    "job_id", "ix", "key", "attempt_number", "layer", "component", "kind", "model", "fingerprint",
    "owner", "state", "hold", "estimated", "counted", "unused", "begun_at", "expires_at",
)  # fmt: skip
#: After so many processes died while executing a call, the call is assumed to kill them.
MAX_PROCESS_DEATHS = 3


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the database says about a batch, updated with each decision of the batch."""

    jobs: Mapping[str, ResultRow]
    attempts: Mapping[tuple[str, int, str], Sequence[ResultRow]]
    cached: Mapping[str, ResultRow]
    settled: set[tuple[str, int, str]]
    requests_in_flight: set[str]
    #: Calls admitted in this batch.
    admitted: set[tuple[str, int, str]] = field(default_factory=set)
    #: Money held by this batch, by job.
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def admit(connection: Connection, requests: Sequence[AttemptRequest]) -> list[Admission]:
    """Decide for each request whether it may be sent, and record the admitted ones."""
    snapshot = _Snapshot(
        jobs=lock_jobs(connection, {request.call.job_id for request in requests}),
        attempts=_previous_attempts(connection, requests),
        cached=_cached_completions(connection, requests),
        settled=_settled_calls(connection, requests),
        requests_in_flight=_requests_in_flight(connection, requests),
    )
    attempts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    admissions: list[Admission] = []
    for request in requests:
        admission = _decide(snapshot, request)
        if isinstance(admission, CacheHit):
            snapshot.settled.add(request.call.as_tuple)
            calls.append(_cached_call_row(request, snapshot.cached[request.fingerprint]))
        elif isinstance(admission, PoisonPill):
            snapshot.settled.add(request.call.as_tuple)
            calls.append(_poison_pill_row(request))
        elif isinstance(admission, Admitted) and not _is_own_retry(snapshot, request):
            snapshot.held[request.call.job_id] += request.hold or 0
            snapshot.admitted.add(request.call.as_tuple)
            snapshot.requests_in_flight.add(request.fingerprint)
            attempts.append(_attempt_row(request, admission.attempt_number))
        admissions.append(admission)
    execute_many(connection, insert_reply, calls)
    execute_many(connection, _insert_attempt, attempts)
    add_money(connection, {job_id: {"held": hold} for job_id, hold in snapshot.held.items()})
    return admissions


def _decide(snapshot: _Snapshot, request: AttemptRequest) -> Admission:
    call = request.call.as_tuple
    job = snapshot.jobs[request.call.job_id]
    previous = snapshot.attempts.get(call, ())
    is_open = call in snapshot.admitted or any(a.state == "sending" for a in previous)
    if call in snapshot.settled:
        return AlreadySettled()
    if _is_own_retry(snapshot, request):
        return _admitted(previous, previous[-1].attempt_number)
    if request.use_cache and request.fingerprint in snapshot.cached:
        return CacheHit()
    if job.state != "running":
        return JobNotRunning()
    if _process_deaths(previous) >= MAX_PROCESS_DEATHS:
        return PoisonPill()
    if is_open or (request.use_cache and request.fingerprint in snapshot.requests_in_flight):
        return DuplicateInFlight()
    if not _fits_budget(job, snapshot.held[job.id], request.hold):
        return BudgetWait() if job.held + snapshot.held[job.id] else BudgetExhausted()
    return _admitted(previous, previous[-1].attempt_number + 1 if previous else 1)


def _process_deaths(attempts: Sequence[ResultRow]) -> int:
    return sum(a.counted and a.outcome == WORKER_DIED for a in attempts)


def _is_own_retry(snapshot: _Snapshot, request: AttemptRequest) -> bool:
    """Whether this very request is recorded already, by a commit that seemed to fail."""
    previous = snapshot.attempts.get(request.call.as_tuple, ())
    return any(a.state == "sending" and is_request_of(a, request) for a in previous)


def _admitted(previous: Sequence[ResultRow], attempt_number: int) -> Admitted:
    counted = [a for a in previous if a.counted and a.attempt_number < attempt_number]
    in_doubt = sum(a.state == "in_doubt" for a in counted)
    rate_limited = sum(a.state == "not_billed" and a.outcome == RATE_LIMIT for a in counted)
    return Admitted(attempt_number, len(counted) + 1, in_doubt, rate_limited)


def _fits_budget(job: ResultRow, held_by_batch: int, hold: int | None) -> bool:
    if job.budget is None:
        return True
    committed = job.spent + job.held + job.in_doubt + held_by_batch
    # Once the budget is spent, free calls are refused too.
    return bool(committed < job.budget and committed + (hold or 0) <= job.budget)


def _settled_calls(
    connection: Connection, requests: Sequence[AttemptRequest]
) -> set[tuple[str, int, str]]:
    keys = json_param(request.call.as_tuple for request in requests)
    rows = fetch_rows(connection, _settled_calls_query, calls=keys)
    return {(row.job_id, row.ix, row.key) for row in rows}


def _settled_calls_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    key = (schema.calls.c.job_id, schema.calls.c.ix, schema.calls.c.key)
    return where_in(sa.select(*key), key, "calls", is_sqlite=is_sqlite)


def _previous_attempts(
    connection: Connection, requests: Sequence[AttemptRequest]
) -> dict[tuple[str, int, str], list[ResultRow]]:
    attempts: dict[tuple[str, int, str], list[ResultRow]] = defaultdict(list)
    keys = json_param(request.call.as_tuple for request in requests)
    for row in fetch_rows(connection, _previous_attempts_query, calls=keys):
        attempts[row.job_id, row.ix, row.key].append(row)
    return attempts


def _previous_attempts_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.attempts.c
    query = sa.select(
        *CALL_KEY_COLUMNS, c.attempt_number, c.state, c.owner, c.begun_at, c.counted, c.outcome
    ).order_by(c.attempt_number)
    return where_in(query, CALL_KEY_COLUMNS, "calls", is_sqlite=is_sqlite)


def _requests_in_flight(connection: Connection, requests: Sequence[AttemptRequest]) -> set[str]:
    fingerprints = [(request.fingerprint,) for request in requests if request.use_cache]
    if not fingerprints:
        return set()
    rows = fetch_rows(connection, _requests_in_flight_query, requests=json_param(fingerprints))
    return {row.fingerprint for row in rows}


def _requests_in_flight_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.attempts.c
    query = sa.select(c.fingerprint).where(c.state == sa.literal_column("'sending'"))
    return where_in(query, [c.fingerprint], "requests", is_sqlite=is_sqlite)


def _cached_completions(
    connection: Connection, requests: Sequence[AttemptRequest]
) -> dict[str, ResultRow]:
    fingerprints = [(request.fingerprint,) for request in requests if request.use_cache]
    if not fingerprints:
        return {}
    rows = fetch_rows(connection, _cached_completions_query, requests=json_param(fingerprints))
    return {row.fingerprint: row for row in rows}


def _cached_completions_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.completions.c
    query = sa.select(c.fingerprint, c.text, c.finish_reason, c.cost)
    return where_in(query, [c.fingerprint], "requests", is_sqlite=is_sqlite)


def _insert_attempt(_sqlite: bool) -> sa.Insert:
    c = schema.attempts.c
    return sa.insert(schema.attempts).values(
        {name: sa.bindparam(name, type_=c[name].type) for name in _REQUEST_COLUMNS}
    )


def _attempt_row(request: AttemptRequest, attempt_number: int) -> dict[str, Any]:
    return {
        **call_columns(request),
        "attempt_number": attempt_number,
        "owner": request.owner,
        "state": "sending",
        "hold": request.hold or 0,
        "estimated": False,
        "counted": True,
        "unused": False,
        "begun_at": request.begun_at,
        "expires_at": request.begun_at + timedelta(seconds=request.expires_after),
    }


def _cached_call_row(request: AttemptRequest, completion: ResultRow) -> dict[str, Any]:
    return settled_call_row(
        request,
        request.begun_at,
        text=completion.text,
        finish_reason=completion.finish_reason,
        cached=True,
        cache_saved=completion.cost,
    )


def _poison_pill_row(request: AttemptRequest) -> dict[str, Any]:
    failure = f"poison: {MAX_PROCESS_DEATHS} processes died over it"
    return settled_call_row(request, request.begun_at, failure=failure)
