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
    CALL,
    RATE_LIMIT,
    WORKER_DIED,
    Begun,
    BudgetReached,
    Busy,
    Found,
    Halted,
    Poisoned,
    Settled,
    Start,
    Started,
    Tight,
    about,
    lock,
    move,
    reply_kept,
    settled,
)
from archon_batch.store.compiled_sql import Record, among, execute, fetch, listed
from archon_batch.store.timestamps import read

#: What is known of an attempt when it begins.
_COLUMNS = (
    "job_id", "ix", "key", "n", "layer", "component", "kind", "model", "fingerprint", "owner",
    "state", "reserve", "estimated", "counts", "dropped", "begun_at", "expires_at",
)  # fmt: skip
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
        jobs=lock(connection, {s.call.job for s in starts}),
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
    execute(connection, reply_kept, copies)
    execute(connection, _begun, inserts)
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
        a.state == "sending" and a.owner == start.owner and read(a.begun_at) == start.at
        for a in before
    )


def _started(before: Sequence[Record], n: int) -> Started:
    counted = [a for a in before if a.counts and a.n < n]
    in_doubt = sum(a.state == "in_doubt" for a in counted)
    refused = sum(a.state == "not_billed" and a.outcome == RATE_LIMIT for a in counted)
    return Started(n, len(counted) + 1, in_doubt, refused)


def _affordable(job: Record, more: int, reserve: int | None) -> bool:
    if job.budget is None:
        return True
    committed = job.spent + job.reserved + job.in_doubt + more
    # At the budget nothing more starts, not even what costs nothing.
    return bool(committed < job.budget and committed + (reserve or 0) <= job.budget)


def _settled(connection: Connection, starts: Sequence[Start]) -> set[tuple[str, int, str]]:
    rows = fetch(connection, _settled_among, calls=listed(s.call.row for s in starts))
    return {(row.job_id, row.ix, row.key) for row in rows}


def _settled_among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    call = (tables.calls.c.job_id, tables.calls.c.ix, tables.calls.c.key)
    return among(sa.select(*call), call, "calls", sqlite=sqlite)


def _attempts(
    connection: Connection, starts: Sequence[Start]
) -> dict[tuple[str, int, str], list[Record]]:
    found: dict[tuple[str, int, str], list[Record]] = defaultdict(list)
    for row in fetch(connection, _attempts_among, calls=listed(s.call.row for s in starts)):
        found[row.job_id, row.ix, row.key].append(row)
    return found


def _attempts_among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    table = tables.attempts
    columns = [table.c[name] for name in ("n", "state", "owner", "begun_at", "counts", "outcome")]
    query = sa.select(*CALL, *columns).order_by(table.c.n)
    return among(query, CALL, "calls", sqlite=sqlite)


def _on_the_wire(connection: Connection, starts: Sequence[Start]) -> set[str]:
    wanted = [(s.fingerprint,) for s in starts if s.reuse]
    if not wanted:
        return set()
    return {row.fingerprint for row in fetch(connection, _sent_among, requests=listed(wanted))}


def _sent_among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.attempts.c
    query = sa.select(c.fingerprint).where(c.state == sa.literal_column("'sending'"))
    return among(query, [c.fingerprint], "requests", sqlite=sqlite)


def _completions(connection: Connection, starts: Sequence[Start]) -> dict[str, Record]:
    wanted = [(s.fingerprint,) for s in starts if s.reuse]
    if not wanted:
        return {}
    rows = fetch(connection, _completions_among, requests=listed(wanted))
    return {row.fingerprint: row for row in rows}


def _completions_among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.completions.c
    query = sa.select(c.fingerprint, c.text, c.finish, c.cost)
    return among(query, [c.fingerprint], "requests", sqlite=sqlite)


def _begun(_sqlite: bool) -> sa.Insert:
    return sa.insert(tables.attempts).values(
        {name: sa.bindparam(name, type_=tables.attempts.c[name].type) for name in _COLUMNS}
    )


def _row(start: Start, n: int) -> dict[str, Any]:
    return {
        **about(start),
        "n": n,
        "owner": start.owner,
        "state": "sending",
        "reserve": start.reserve or 0,
        "estimated": False,
        "counts": True,
        "dropped": False,
        "begun_at": start.at,
        "expires_at": start.at + timedelta(seconds=start.lasts),
    }


def _copy(start: Start, found: Record) -> dict[str, Any]:
    return settled(
        start, start.at, text=found.text, finish=found.finish, cached=True, saved=found.cost
    )


def _given_up(start: Start) -> dict[str, Any]:
    return settled(start, start.at, failure=f"poison: {MOST_DEATHS} processes died over it")
