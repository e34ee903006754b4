"""Attempts that begin: nothing is sent that is not on record, nothing that the budget does not cover.

A batch is decided inside a transaction that another opened, so that many attempts share a commit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import tables
from archon_batch.store.attempts import (
    CALL,
    WORKER_DIED,
    Begun,
    BudgetReached,
    Busy,
    Found,
    Halted,
    Poisoned,
    Record,
    Settled,
    Start,
    Started,
    Tight,
    about,
    move,
    once,
    settled,
)
from archon_batch.store.moment import utc

#: Processes that may die over a call before it is taken to be what kills them.
MOST_DEATHS = 3


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database says of a batch, and what the batch itself adds as it is decided."""

    jobs: Mapping[str, Record]
    attempts: Mapping[tuple[str, int, str], Sequence[Record]]
    found: Mapping[str, Record]
    settled: set[tuple[str, int, str]]
    on_the_wire: set[str]
    #: Calls that this batch has begun.
    begun: set[tuple[str, int, str]] = field(default_factory=set)
    #: Kept back by this batch, by job.
    reserved: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def begin(connection: Connection, starts: Sequence[Start]) -> list[Begun]:
    """Decide for each whether it may be sent, and put those that may on record."""
    facts = _Facts(
        jobs=_locked_jobs(connection, {s.call.job for s in starts}),
        attempts=_attempts(connection, starts),
        found=_completions(connection, starts),
        settled=_settled(connection, starts),
        on_the_wire=_on_the_wire(connection, starts),
    )
    inserts: list[dict[str, Any]] = []
    copies: list[dict[str, Any]] = []
    results: list[Begun] = []
    for start in starts:
        verdict = _verdict(facts, start)
        if isinstance(verdict, Found):
            facts.settled.add(start.call.row)
            copies.append(_copy(start, facts.found[start.fingerprint]))
        elif isinstance(verdict, Poisoned):
            facts.settled.add(start.call.row)
            copies.append(_given_up(start))
        elif isinstance(verdict, Started) and not _is_mine(facts, start):
            facts.reserved[start.call.job] += start.reserve or 0
            facts.begun.add(start.call.row)
            facts.on_the_wire.add(start.fingerprint)
            inserts.append(_row(start, verdict.n))
        results.append(verdict)
    if copies:
        connection.execute(once(connection, tables.calls), copies)
    if inserts:
        connection.execute(sa.insert(tables.attempts), inserts)
    move(connection, {job: {"reserved": amount} for job, amount in facts.reserved.items()})
    return results


def _verdict(facts: _Facts, start: Start) -> Begun:
    before = facts.attempts.get(start.call.row, ())
    job = facts.jobs[start.call.job]
    open_already = start.call.row in facts.begun or any(a.state == "sending" for a in before)
    if start.call.row in facts.settled:
        return Settled()
    if _is_mine(facts, start):
        return _started(before, before[-1].n)
    if start.reuse and start.fingerprint in facts.found:
        return Found()
    if job.state != "running":
        return Halted()
    if _deaths(before) >= MOST_DEATHS:
        return Poisoned()
    if open_already or (start.reuse and start.fingerprint in facts.on_the_wire):
        return Busy()
    if not _affordable(job, facts.reserved[job.id], start.reserve):
        return Tight() if job.reserved + facts.reserved[job.id] else BudgetReached()
    return _started(before, before[-1].n + 1 if before else 1)


def _deaths(before: Sequence[Record]) -> int:
    return sum(a.counts and a.outcome == WORKER_DIED for a in before)


def _is_mine(facts: _Facts, start: Start) -> bool:
    """Whether an earlier commit of this very start went through although it seemed to fail."""
    before = facts.attempts.get(start.call.row, ())
    return any(
        a.state == "sending" and a.owner == start.owner and utc(a.begun_at) == start.at
        for a in before
    )


def _started(before: Sequence[Record], n: int) -> Started:
    counted = [a for a in before if a.counts and a.n < n]
    return Started(n, len(counted) + 1, sum(a.state == "in_doubt" for a in counted))


def _affordable(job: Record, more: int, reserve: int | None) -> bool:
    if job.budget is None:
        return True
    committed = job.spent + job.reserved + job.in_doubt + more
    # At the budget nothing more starts, not even what costs nothing.
    return bool(committed < job.budget and committed + (reserve or 0) <= job.budget)


def _locked_jobs(connection: Connection, ids: Iterable[str]) -> dict[str, Record]:
    table = tables.jobs
    columns = (
        table.c.id, table.c.state, table.c.budget,
        table.c.spent, table.c.reserved, table.c.in_doubt,
    )  # fmt: skip
    # In one order, so that two processes with the same jobs cannot wait for each other.
    query = sa.select(*columns).where(table.c.id.in_(sorted(ids))).order_by(table.c.id)
    # Not the lock that shuts out whoever refers to them: two that both refer to a job already, by
    # what they have inserted, could never have it.
    return {row.id: row for row in connection.execute(query.with_for_update(key_share=True))}


def _settled(connection: Connection, starts: Sequence[Start]) -> set[tuple[str, int, str]]:
    call = (tables.calls.c.job_id, tables.calls.c.ix, tables.calls.c.key)
    query = sa.select(*call).where(sa.tuple_(*call).in_([s.call.row for s in starts]))
    return {(row.job_id, row.ix, row.key) for row in connection.execute(query)}


def _attempts(
    connection: Connection, starts: Sequence[Start]
) -> dict[tuple[str, int, str], list[Record]]:
    table = tables.attempts
    columns = [table.c[name] for name in ("n", "state", "owner", "begun_at", "counts", "outcome")]
    query = sa.select(*CALL, *columns).where(sa.tuple_(*CALL).in_([s.call.row for s in starts]))
    found: dict[tuple[str, int, str], list[Record]] = defaultdict(list)
    for row in connection.execute(query.order_by(table.c.n)):
        found[row.job_id, row.ix, row.key].append(row)
    return found


def _on_the_wire(connection: Connection, starts: Sequence[Start]) -> set[str]:
    wanted = [s.fingerprint for s in starts if s.reuse]
    if not wanted:
        return set()
    column = tables.attempts.c.fingerprint
    query = sa.select(column).where(
        column.in_(wanted), tables.attempts.c.state == sa.literal_column("'sending'")
    )
    return set(connection.scalars(query))


def _completions(connection: Connection, starts: Sequence[Start]) -> dict[str, Record]:
    wanted = [s.fingerprint for s in starts if s.reuse]
    if not wanted:
        return {}
    table = tables.completions
    query = sa.select(table.c.fingerprint, table.c.text, table.c.finish, table.c.cost)
    return {
        row.fingerprint: row
        for row in connection.execute(query.where(table.c.fingerprint.in_(wanted)))
    }


def _row(start: Start, n: int) -> dict[str, Any]:
    return {
        **about(start),
        "n": n,
        "owner": start.owner,
        "state": "sending",
        "reserve": start.reserve or 0,
        "estimated": False,
        "counts": True,
        "begun_at": start.at,
        "expires_at": start.at + timedelta(seconds=start.lasts),
    }


def _copy(start: Start, found: Record) -> dict[str, Any]:
    return settled(
        start, start.at, text=found.text, finish=found.finish, cached=True, saved=found.cost
    )


def _given_up(start: Start) -> dict[str, Any]:
    return settled(start, start.at, failure=f"poison: {MOST_DEATHS} processes died over it")
