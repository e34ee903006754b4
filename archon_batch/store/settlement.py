"""Settlement: each attempt is settled once, in one commit with its money and its reply."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.archon import Reply, Usage
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd
from archon_batch.store import schema
from archon_batch.store.attempts import (
    CALL_KEY_COLUMNS,
    WORKER_DIED,
    AttemptRequest,
    AttemptResult,
    add_money,
    insert_ignore,
    insert_reply,
    lock_jobs,
    settled_call_row,
)
from archon_batch.store.compiled_sql import execute_many, fetch_rows, json_param, where_in
from archon_batch.store.sql_values import as_utc, is_valid_cost, storable, valid_token_count

#: Characters of a provider's finish reason.
_MAX_FINISH_REASON = 64
#: The detail of an answer to an attempt that was in doubt. Its call may have two paid attempts.
LATE_ANSWER = "late: it was in doubt"
#: The columns that are known only when an attempt has ended.
_RESULT_COLUMNS = (
    "state", "outcome", "detail", "cost", "estimated", "prompt_tokens", "completion_tokens",
    "cached_tokens", "reasoning_tokens", "ended_at",
)  # fmt: skip


class _PreviousState(NamedTuple):
    """An attempt before its result is recorded."""

    state: str
    hold: int
    counted: bool


def settle(connection: Connection, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    """Record results, move their money, and settle the calls that they answer.

    A settled attempt is left unchanged, unless it was in doubt: then a late answer resolves it. The
    first reply of a call is kept.

    Returns:
        The results whose attempts are not recorded; they change nothing.
    """
    states = _attempt_states(connection, results)
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    attempts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    completions: list[dict[str, Any]] = []
    orphans: list[AttemptResult] = []
    for reported in results:
        request = reported.request
        attempt = (*request.call.as_tuple, reported.attempt_number)
        before = states.get(attempt)
        if before is None:
            orphans.append(reported)
            continue
        if before.state not in ("sending", "in_doubt"):
            continue
        result = _sanitized(reported, before)
        # A second result of the attempt in this batch is treated as if it had its own commit.
        states[attempt] = before._replace(state=result.billing.value)
        change = money[request.call.job_id]
        change["held" if before.state == "sending" else "in_doubt"] -= before.hold
        change["spent"] += result.cost or 0
        if result.billing is Billing.IN_DOUBT:
            change["in_doubt"] += before.hold
        attempts.append(_result_row(result))
        if result.reply is not None:
            # After ``retry`` the call may ask something else; an equal request uses the cache.
            if before.counted:
                calls.append(_call_row(request, result.reply, result.ended_at))
            if result.reply.text and result.reply.text.strip():
                completions.append(_completion_row(result, result.reply))
    execute_many(connection, _update_attempt, attempts)
    execute_many(connection, insert_reply, calls)
    # In sorted order, because another job may insert the same completions.
    completions.sort(key=lambda row: str(row["fingerprint"]))
    execute_many(connection, _insert_completion, completions)
    add_money(connection, money)
    return orphans


def recover(connection: Connection, is_lost: Callable[[str, datetime], bool], at: datetime) -> int:
    """Mark lost attempts in doubt, as ``is_lost`` decides from owner and expiry; return how many.

    No process will settle them; the provider may have served and billed them.
    """
    c = schema.attempts.c
    key = (*CALL_KEY_COLUMNS, c.attempt_number)
    sending = c.state == sa.literal_column("'sending'")
    query = sa.select(*key, c.owner, c.expires_at, c.hold).where(sending)
    rows = connection.execute(query).all()
    lost = [row for row in rows if is_lost(row.owner, as_utc(row.expires_at))]
    lock_jobs(connection, {row.job_id for row in lost})
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    recovered = 0
    for row in lost:
        attempt = sa.tuple_(*key) == (row.job_id, row.ix, row.key, row.attempt_number)
        update = sa.update(schema.attempts).where(attempt, sending)
        changed = connection.execute(
            update.values(state="in_doubt", outcome=WORKER_DIED, ended_at=at)
        )
        # No row changes if the attempt was settled or recovered before we had the job's lock.
        if changed.rowcount:
            recovered += 1
            money[row.job_id]["held"] -= row.hold
            money[row.job_id]["in_doubt"] += row.hold
    add_money(connection, money)
    return recovered


def _sanitized(result: AttemptResult, before: _PreviousState) -> AttemptResult:
    """Drop impossible token counts; replace an impossible cost by the attempt's hold."""
    usage = Usage(
        valid_token_count(result.usage.prompt_tokens),
        valid_token_count(result.usage.completion_tokens),
        valid_token_count(result.usage.cached_tokens),
        valid_token_count(result.usage.reasoning_tokens),
    )
    if usage != result.usage:
        result = replace(result, usage=usage)
    if result.cost is not None and not is_valid_cost(result.cost):
        result = replace(result, cost=NanoUsd(before.hold), estimated=True)
    is_answer = result.billing is Billing.BILLED and result.detail is None
    if before.state == "in_doubt" and is_answer:
        result = replace(result, detail=LATE_ANSWER)
    return result


def _attempt_states(
    connection: Connection, results: Sequence[AttemptResult]
) -> dict[tuple[str, int, str, int], _PreviousState]:
    keys = json_param((*r.request.call.as_tuple, r.attempt_number) for r in results)
    return {
        (row.job_id, row.ix, row.key, row.attempt_number): _PreviousState(
            row.state, row.hold, row.counted
        )
        for row in fetch_rows(connection, _attempt_states_query, attempts=keys)
    }


def _attempt_states_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.attempts.c
    key = (*CALL_KEY_COLUMNS, c.attempt_number)
    query = sa.select(*key, c.state, c.hold, c.counted)
    return where_in(query, key, "attempts", is_sqlite=is_sqlite)


def _update_attempt(_sqlite: bool) -> sa.Update:
    c = schema.attempts.c
    key = {"of_job": c.job_id, "of_ix": c.ix, "of_key": c.key, "of_number": c.attempt_number}
    where = [column == sa.bindparam(name, type_=column.type) for name, column in key.items()]
    changes = {name: sa.bindparam(name, type_=c[name].type) for name in _RESULT_COLUMNS}
    return sa.update(schema.attempts).where(*where).values(changes)


def _insert_completion(is_sqlite: bool) -> Any:  # noqa: ANN401
    return insert_ignore(schema.completions, is_sqlite=is_sqlite)


def _result_row(result: AttemptResult) -> dict[str, Any]:
    job_id, ix, key = result.request.call.as_tuple
    return {
        "of_job": job_id,
        "of_ix": ix,
        "of_key": key,
        "of_number": result.attempt_number,
        "state": result.billing.value,
        "outcome": result.outcome,
        "detail": storable(result.detail),
        "cost": result.cost,
        "estimated": result.estimated,
        "prompt_tokens": result.usage.prompt_tokens,
        "completion_tokens": result.usage.completion_tokens,
        "cached_tokens": result.usage.cached_tokens,
        "reasoning_tokens": result.usage.reasoning_tokens,
        "ended_at": result.ended_at,
    }


def _call_row(request: AttemptRequest, reply: Reply, settled_at: datetime) -> dict[str, Any]:
    return settled_call_row(
        request,
        settled_at,
        text=storable(reply.text),
        failure=storable(reply.failure),
        finish_reason=_truncated(reply.finish_reason),
    )


def _completion_row(result: AttemptResult, reply: Reply) -> dict[str, Any]:
    return {
        "fingerprint": result.request.fingerprint,
        "model": result.request.model,
        "text": storable(reply.text),
        "finish_reason": _truncated(reply.finish_reason),
        "prompt_tokens": result.usage.prompt_tokens,
        "completion_tokens": result.usage.completion_tokens,
        "cost": result.cost,
        "created_at": result.ended_at,
    }


def _truncated(finish_reason: str | None) -> str | None:
    clean = storable(finish_reason)
    return None if clean is None else clean[:_MAX_FINISH_REASON]
