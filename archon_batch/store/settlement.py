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
    CALL,
    WORKER_DIED,
    Finish,
    Start,
    lock,
    move,
    once,
    reply_kept,
    settled,
)
from archon_batch.store.compiled_sql import among, execute, fetch, listed
from archon_batch.store.text_values import is_cost, storable, tokens
from archon_batch.store.timestamps import utc

#: Characters of a provider's word for why it stopped.
_FINISH = 64
#: Of an answer to an attempt that was in doubt when it came: why its call may have two that are paid.
LATE = "late: it was in doubt"
#: What is known of an attempt only when it has ended.
_END = (
    "state", "outcome", "why", "cost", "estimated", "prompt_tokens", "completion_tokens",
    "cached_tokens", "reasoning_tokens", "ended_at",
)  # fmt: skip


class _Before(NamedTuple):
    """An attempt that an end is told of, as it was until then."""

    state: str
    reserve: int
    counts: bool


def settle(connection: Connection, finishes: Sequence[Finish]) -> list[Finish]:
    """Put the ends of attempts on record, move their money, and settle the calls they answer.

    An attempt that is settled already stays as it is, unless it was in doubt: then the answer that
    came after all resolves it. The first reply to a call stays.

    Return the ends of which the attempt is not on record: they change nothing.
    """
    states = _states(connection, finishes)
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    ends: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    completions: list[dict[str, Any]] = []
    strays: list[Finish] = []
    for given in finishes:
        start = given.start
        attempt = (*start.call.row, given.n)
        before = states.get(attempt)
        if before is None:
            strays.append(given)
            continue
        if before.state not in ("sending", "in_doubt"):
            continue
        finish = _fitting(given, before)
        # The next end of it in this batch is judged as if it came in a commit of its own.
        states[attempt] = before._replace(state=finish.billing.value)
        moved = money[start.call.job]
        moved["reserved" if before.state == "sending" else "in_doubt"] -= before.reserve
        moved["spent"] += finish.cost or 0
        if finish.billing is Billing.IN_DOUBT:
            moved["in_doubt"] += before.reserve
        ends.append(_end(finish))
        if finish.reply is not None:
            # After a retry the call may ask something else; a request that is the same finds the
            # completion.
            if before.counts:
                calls.append(_call(start, finish.reply, finish.at))
            if finish.reply.text and finish.reply.text.strip():
                completions.append(_completion(finish, finish.reply))
    execute(connection, _ended, ends)
    execute(connection, reply_kept, calls)
    # In one order, since another job's may be the same.
    completions.sort(key=lambda row: str(row["fingerprint"]))
    execute(connection, _completed, completions)
    move(connection, money)
    return strays


def recover(connection: Connection, is_lost: Callable[[str, datetime], bool], at: datetime) -> int:
    """Put attempts in doubt that are lost, by owner and expiry; return how many.

    Nobody will settle them: the provider may have served and billed them, and no answer came.
    """
    table = tables.attempts
    query = sa.select(*CALL, table.c.n, table.c.owner, table.c.expires_at, table.c.reserve)
    sending = table.c.state == sa.literal_column("'sending'")
    rows = connection.execute(query.where(sending)).all()
    lost = [row for row in rows if is_lost(row.owner, utc(row.expires_at))]
    lock(connection, {row.job_id for row in lost})
    money: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    found = 0
    for row in lost:
        attempt = sa.tuple_(*CALL, table.c.n) == (row.job_id, row.ix, row.key, row.n)
        update = sa.update(table).where(attempt, sending)
        changed = connection.execute(
            update.values(state="in_doubt", outcome=WORKER_DIED, ended_at=at)
        )
        # None if another found it, or its end came, before the job was ours.
        if changed.rowcount:
            found += 1
            money[row.job_id]["reserved"] -= row.reserve
            money[row.job_id]["in_doubt"] += row.reserve
    move(connection, money)
    return found


def _fitting(finish: Finish, before: _Before) -> Finish:
    """The end with counts that can be. A cost that cannot be is the most that was kept back."""
    given = finish.usage
    usage = Usage(*map(tokens, (given.prompt, given.completion, given.cached, given.reasoning)))
    if usage != given:
        finish = replace(finish, usage=usage)
    if finish.cost is not None and not is_cost(finish.cost):
        finish = replace(finish, cost=NanoUsd(before.reserve), estimated=True)
    if before.state == "in_doubt" and finish.billing is Billing.BILLED and finish.why is None:
        finish = replace(finish, why=LATE)
    return finish


def _states(
    connection: Connection, finishes: Sequence[Finish]
) -> dict[tuple[str, int, str, int], _Before]:
    wanted = listed((*f.start.call.row, f.n) for f in finishes)
    return {
        (row.job_id, row.ix, row.key, row.n): _Before(row.state, row.reserve, row.counts)
        for row in fetch(connection, _states_among, attempts=wanted)
    }


def _states_among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.attempts.c
    attempt = (*CALL, c.n)
    query = sa.select(*attempt, c.state, c.reserve, c.counts)
    return among(query, attempt, "attempts", sqlite=sqlite)


def _ended(_sqlite: bool) -> sa.Update:
    c = tables.attempts.c
    names = {"of_job": c.job_id, "of_ix": c.ix, "of_key": c.key, "of_n": c.n}
    at = [column == sa.bindparam(name, type_=column.type) for name, column in names.items()]
    changes = {name: sa.bindparam(name, type_=c[name].type) for name in _END}
    return sa.update(tables.attempts).where(*at).values(changes)


def _completed(sqlite: bool) -> Any:  # noqa: ANN401
    return once(tables.completions, sqlite=sqlite)


def _end(finish: Finish) -> dict[str, Any]:
    job, ix, key = finish.start.call.row
    return {
        "of_job": job,
        "of_ix": ix,
        "of_key": key,
        "of_n": finish.n,
        "state": finish.billing.value,
        "outcome": finish.outcome,
        "why": storable(finish.why),
        "cost": finish.cost,
        "estimated": finish.estimated,
        "prompt_tokens": finish.usage.prompt,
        "completion_tokens": finish.usage.completion,
        "cached_tokens": finish.usage.cached,
        "reasoning_tokens": finish.usage.reasoning,
        "ended_at": finish.at,
    }


def _call(start: Start, reply: Reply, at: datetime) -> dict[str, Any]:
    return settled(
        start,
        at,
        text=storable(reply.text),
        failure=storable(reply.failure),
        finish=_short(reply.finish),
    )


def _completion(finish: Finish, reply: Reply) -> dict[str, Any]:
    return {
        "fingerprint": finish.start.fingerprint,
        "model": finish.start.model,
        "text": storable(reply.text),
        "finish": _short(reply.finish),
        "prompt_tokens": finish.usage.prompt,
        "completion_tokens": finish.usage.completion,
        "cost": finish.cost,
        "made_at": finish.at,
    }


def _short(word: str | None) -> str | None:
    clean = storable(word)
    return None if clean is None else clean[:_FINISH]
