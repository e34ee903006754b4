"""Attempts that end: each is settled once, its money moves with it, and its reply is kept."""

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
from archon_batch.store import tables
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
from archon_batch.store.text_values import is_valid_cost, storable, valid_token_count
from archon_batch.store.timestamps import as_utc

#: Characters of a provider's word for why it stopped.
_MAX_FINISH_REASON = 64
#: Of an answer to an attempt that was in doubt when it came: why its call may have two that are paid.
LATE_ANSWER = "late: it was in doubt"
#: What is known of an attempt only when it has ended.
_RESULT_COLUMNS = (
    "state", "outcome", "why", "cost", "estimated", "prompt_tokens", "completion_tokens",
    "cached_tokens", "reasoning_tokens", "ended_at",
)  # fmt: skip


class _PreviousState(NamedTuple):
    """An attempt that an end is told of, as it was until then."""

    state: str
    hold: int
    counts: bool


def settle(connection: Connection, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    """Put the ends of attempts on record, move their money, and settle the calls they answer.

    An attempt that is settled already stays as it is, unless it was in doubt: then the answer that
    came after all resolves it. The first reply to a call stays.

    Return the ends of which the attempt is not on record: they change nothing.
    """
    states = _attempt_states(connection, results)
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    ends: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    completions: list[dict[str, Any]] = []
    strays: list[AttemptResult] = []
    for given in results:
        start = given.request
        attempt = (*start.call.as_tuple, given.attempt_number)
        before = states.get(attempt)
        if before is None:
            strays.append(given)
            continue
        if before.state not in ("sending", "in_doubt"):
            continue
        finish = _sanitized(given, before)
        # The next end of it in this batch is judged as if it came in a commit of its own.
        states[attempt] = before._replace(state=finish.billing.value)
        moved = money[start.call.job_id]
        moved["reserved" if before.state == "sending" else "in_doubt"] -= before.hold
        moved["spent"] += finish.cost or 0
        if finish.billing is Billing.IN_DOUBT:
            moved["in_doubt"] += before.hold
        ends.append(_result_row(finish))
        if finish.reply is not None:
            # After a retry the call may ask something else; a request that is the same finds the
            # completion.
            if before.counts:
                calls.append(_call_row(start, finish.reply, finish.ended_at))
            if finish.reply.text and finish.reply.text.strip():
                completions.append(_completion_row(finish, finish.reply))
    execute_many(connection, _update_attempt, ends)
    execute_many(connection, insert_reply, calls)
    # In one order, since another job's may be the same.
    completions.sort(key=lambda row: str(row["fingerprint"]))
    execute_many(connection, _insert_completion, completions)
    add_money(connection, money)
    return strays


def recover(connection: Connection, is_lost: Callable[[str, datetime], bool], at: datetime) -> int:
    """Put attempts in doubt that are lost, by owner and expiry; return how many.

    Nobody will settle them: the provider may have served and billed them, and no answer came.
    """
    table = tables.attempts
    query = sa.select(
        *CALL_KEY_COLUMNS, table.c.n, table.c.owner, table.c.expires_at, table.c.reserve
    )
    sending = table.c.state == sa.literal_column("'sending'")
    rows = connection.execute(query.where(sending)).all()
    lost = [row for row in rows if is_lost(row.owner, as_utc(row.expires_at))]
    lock_jobs(connection, {row.job_id for row in lost})
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    found = 0
    for row in lost:
        attempt = sa.tuple_(*CALL_KEY_COLUMNS, table.c.n) == (row.job_id, row.ix, row.key, row.n)
        update = sa.update(table).where(attempt, sending)
        changed = connection.execute(
            update.values(state="in_doubt", outcome=WORKER_DIED, ended_at=at)
        )
        # None if another found it, or its end came, before the job was ours.
        if changed.rowcount:
            found += 1
            money[row.job_id]["reserved"] -= row.reserve
            money[row.job_id]["in_doubt"] += row.reserve
    add_money(connection, money)
    return found


def _sanitized(finish: AttemptResult, before: _PreviousState) -> AttemptResult:
    """The end with counts that can be. A cost that cannot be is the most that was kept back."""
    given = finish.usage
    usage = Usage(
        *map(
            valid_token_count,
            (
                given.prompt_tokens,
                given.completion_tokens,
                given.cached_tokens,
                given.reasoning_tokens,
            ),
        )
    )
    if usage != given:
        finish = replace(finish, usage=usage)
    if finish.cost is not None and not is_valid_cost(finish.cost):
        finish = replace(finish, cost=NanoUsd(before.hold), estimated=True)
    if before.state == "in_doubt" and finish.billing is Billing.BILLED and finish.detail is None:
        finish = replace(finish, detail=LATE_ANSWER)
    return finish


def _attempt_states(
    connection: Connection, finishes: Sequence[AttemptResult]
) -> dict[tuple[str, int, str, int], _PreviousState]:
    wanted = json_param((*f.request.call.as_tuple, f.attempt_number) for f in finishes)
    return {
        (row.job_id, row.ix, row.key, row.n): _PreviousState(row.state, row.reserve, row.counts)
        for row in fetch_rows(connection, _attempt_states_query, attempts=wanted)
    }


def _attempt_states_query(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.attempts.c
    attempt = (*CALL_KEY_COLUMNS, c.n)
    query = sa.select(*attempt, c.state, c.reserve, c.counts)
    return where_in(query, attempt, "attempts", sqlite=sqlite)


def _update_attempt(_sqlite: bool) -> sa.Update:
    c = tables.attempts.c
    names = {"of_job": c.job_id, "of_ix": c.ix, "of_key": c.key, "of_n": c.n}
    at = [column == sa.bindparam(name, type_=column.type) for name, column in names.items()]
    changes = {name: sa.bindparam(name, type_=c[name].type) for name in _RESULT_COLUMNS}
    return sa.update(tables.attempts).where(*at).values(changes)


def _insert_completion(sqlite: bool) -> Any:  # noqa: ANN401
    return insert_ignore(tables.completions, sqlite=sqlite)


def _result_row(finish: AttemptResult) -> dict[str, Any]:
    job, ix, key = finish.request.call.as_tuple
    return {
        "of_job": job,
        "of_ix": ix,
        "of_key": key,
        "of_n": finish.attempt_number,
        "state": finish.billing.value,
        "outcome": finish.outcome,
        "why": storable(finish.detail),
        "cost": finish.cost,
        "estimated": finish.estimated,
        "prompt_tokens": finish.usage.prompt_tokens,
        "completion_tokens": finish.usage.completion_tokens,
        "cached_tokens": finish.usage.cached_tokens,
        "reasoning_tokens": finish.usage.reasoning_tokens,
        "ended_at": finish.ended_at,
    }


def _call_row(start: AttemptRequest, reply: Reply, at: datetime) -> dict[str, Any]:
    return settled_call_row(
        start,
        at,
        text=storable(reply.text),
        failure=storable(reply.failure),
        finish=_truncated(reply.finish_reason),
    )


def _completion_row(finish: AttemptResult, reply: Reply) -> dict[str, Any]:
    return {
        "fingerprint": finish.request.fingerprint,
        "model": finish.request.model,
        "text": storable(reply.text),
        "finish": _truncated(reply.finish_reason),
        "prompt_tokens": finish.usage.prompt_tokens,
        "completion_tokens": finish.usage.completion_tokens,
        "cost": finish.cost,
        "made_at": finish.ended_at,
    }


def _truncated(word: str | None) -> str | None:
    clean = storable(word)
    return None if clean is None else clean[:_MAX_FINISH_REASON]
