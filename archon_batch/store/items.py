"""Items in the database: what is open, the replies so far, and the ends."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.archon import Answer, CallKey, GaveUp, Message, Question, Reply
from archon_batch.store import tables
from archon_batch.store.attempts import lock
from archon_batch.store.compiled_sql import Build, among, execute, fetch, listed
from archon_batch.store.database import Database
from archon_batch.store.failure_reasons import has_reason
from archon_batch.store.timestamps import now


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An item under way: its question and all that is on record of it."""

    ix: int
    question: Question
    replies: Mapping[CallKey, Reply] = field(default_factory=dict)


class Items:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open_in_shard(self, job_id: str, shard: int) -> list[OpenItem]:
        """The shard's items that have no end yet, in the dataset's order."""
        return self._open(job_id, _in_shard, {"job": job_id, "shard": shard})

    def open_among(self, job_id: str, ixs: Iterable[int]) -> list[OpenItem]:
        """Those of the items that have no end yet, in the dataset's order."""
        return self._open(job_id, _among, {"items": listed((job_id, ix) for ix in ixs)})

    def _open(self, job: str, which: Build, where: dict[str, str | int]) -> list[OpenItem]:
        with self._database.reading() as connection:
            rows = sorted(fetch(connection, which, **where), key=lambda row: int(row.ix))
            replies: dict[int, dict[CallKey, Reply]] = defaultdict(dict)
            if rows:
                items = listed((job, row.ix) for row in rows)
                for ix, key, text, failure, finish in fetch(connection, _replies, items=items):
                    replies[ix][CallKey.parse(key)] = Reply(text, failure, finish=finish)
        return [
            OpenItem(row.ix, _question(row.row_id, row.messages), replies[row.ix]) for row in rows
        ]

    def end(self, job_id: str, ends: Sequence[tuple[int, Answer | GaveUp]]) -> None:
        """Put ends on record. An item that has one keeps it."""
        if not ends:
            return
        at = now()
        dropped = [
            {"of_job": job_id, "of_ix": ix, "of_key": str(key)}
            for ix, end in ends
            if isinstance(end, Answer)
            for key in end.dropped
        ]
        with self._database.writing() as connection:
            if dropped:
                lock(connection, [job_id])
            about = {"of_job": job_id, "ended_at": at}
            execute(connection, _ended, [{**about, "of_ix": ix, **_end(end)} for ix, end in ends])
            execute(connection, _dropped, dropped)

    def has_open(self, job_id: str) -> bool:
        """Whether any item of the job has no end yet."""
        with self._database.reading() as connection:
            return bool(fetch(connection, _any_open, job=job_id))

    def begun_shards(self, job_id: str) -> list[int]:
        """The shards with open items that have a reply."""
        items, calls = tables.items, tables.calls
        joined = sa.and_(calls.c.job_id == items.c.job_id, calls.c.ix == items.c.ix)
        query = (
            sa.select(items.c.shard)
            .join(calls, joined)
            .where(items.c.job_id == job_id, items.c.status == "open")
            .distinct()
            .order_by(items.c.shard)
        )
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def cancel(self, job_id: str) -> bool:
        """End the job with all that is open of it; what was paid for stays on record.

        Return whether there was anything to end.
        """
        table = tables.items
        with self._database.writing() as connection:
            state = lock(connection, [job_id])[job_id].state
            if state == "done":
                return False
            if state != "cancelled":
                _moved(connection, job_id, "cancelled", now())
            left = connection.execute(
                sa.update(table)
                .where(table.c.job_id == job_id, table.c.status == "open")
                .values(status="cancelled", ended_at=now())
            )
            return state != "cancelled" or left.rowcount > 0

    def reasons(self, job_id: str) -> list[tuple[str, str | None, int]]:
        """How many items ended without an answer, by status and reason, the most first."""
        c = tables.items.c
        query = (
            sa.select(c.status, c.reason, sa.func.count())
            .where(c.job_id == job_id, c.status.in_(["given_up", "cancelled"]))
            .group_by(c.status, c.reason)
            .order_by(sa.func.count().desc(), c.status.desc(), c.reason)
        )
        with self._database.reading() as connection:
            return [(row.status, row.reason, row[2]) for row in connection.execute(query)]

    def reopen(
        self,
        job_id: str,
        statuses: Iterable[str],
        *,
        reasons: Iterable[str] = (),
        layers: Iterable[int] = (),
        rows: Iterable[str] = (),
    ) -> int:
        """Open items again that ended so, and forget their failed calls; return how many.

        The job runs again, if there are any.

        Of those, only items that fit all of ``reasons`` (a part of the item's own, whatever its
        case, or how the last attempt of a failed call ended), all of ``layers`` (where the item
        was given up) and all of ``rows``.

        Replies stay, so only what failed is paid for again; the attempts stay on the ledger, and
        the bound of attempts begins anew. Their scores go.
        """
        items, attempts, scores = tables.items, tables.attempts, tables.scores
        with self._database.writing() as connection:
            state = lock(connection, [job_id])[job_id].state
            # A program may have been killed when to end a job took two commits.
            ended = state in ("done", "cancelled")
            left = len(fetch(connection, _open, job=job_id)) if ended else 0
            ixs = list(
                connection.scalars(
                    sa.select(items.c.ix).where(
                        items.c.job_id == job_id,
                        items.c.status.in_(list(statuses)),
                        # A row that could not be accepted has nothing to ask.
                        items.c.messages != "[]",
                        *(has_reason(reason) for reason in reasons),
                        *(items.c.reason.startswith(_place(layer)) for layer in layers),
                        *(items.c.row_id == row for row in rows),
                    )
                )
            )
            for some in (ixs[at : at + 500] for at in range(0, len(ixs), 500)):
                _forget(connection, job_id, some)
                connection.execute(
                    sa.update(attempts)
                    .where(attempts.c.job_id == job_id, attempts.c.ix.in_(some))
                    .values(counts=False, dropped=False)
                )
                connection.execute(
                    sa.delete(scores).where(scores.c.job_id == job_id, scores.c.ix.in_(some))
                )
                connection.execute(
                    sa.update(items)
                    .where(items.c.job_id == job_id, items.c.ix.in_(some))
                    .values(status="open", answer=None, reason=None, notes=None, ended_at=None)
                )
            if (ixs or left) and state != "running":
                _moved(connection, job_id, "running", None)
            return len(ixs) + left


def _moved(connection: Connection, job_id: str, state: str, at: datetime | None) -> None:
    job = sa.update(tables.jobs).where(tables.jobs.c.id == job_id)
    connection.execute(job.values(state=state, reason=None, ended_at=at))


def _items() -> sa.Select[*tuple[Any, ...]]:
    # Not in order: SQLite would read the whole job to have it.
    c = tables.items.c
    query = sa.select(c.ix, c.row_id, c.messages)
    return query.where(c.status == sa.literal_column("'open'"))


def _in_shard(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.items.c
    return _items().where(c.job_id == sa.bindparam("job"), c.shard == sa.bindparam("shard"))


def _among(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.items.c
    return among(_items(), [c.job_id, c.ix], "items", sqlite=sqlite)


def _replies(sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = tables.calls.c
    query = sa.select(c.ix, c.key, c.text, c.failure, c.finish)
    return among(query, [c.job_id, c.ix], "items", sqlite=sqlite)


def _open(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return _items().where(tables.items.c.job_id == sa.bindparam("job"))


def _any_open(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(sa.literal_column("1")).where(_open(_sqlite).exists())


def _ended(_sqlite: bool) -> sa.Update:
    c = tables.items.c
    names = ("status", "answer", "reason", "notes", "ended_at")
    return (
        sa.update(tables.items)
        .where(
            c.job_id == sa.bindparam("of_job"),
            c.ix == sa.bindparam("of_ix"),
            c.status == sa.literal_column("'open'"),
        )
        .values({name: sa.bindparam(name, type_=c[name].type) for name in names})
    )


def _dropped(_sqlite: bool) -> sa.Update:
    """Marks a call's attempts, if the item ended with an answer."""
    items, attempts = tables.items.c, tables.attempts.c
    answered = sa.exists().where(
        items.job_id == attempts.job_id,
        items.ix == attempts.ix,
        items.status == sa.literal_column("'answered'"),
    )
    return (
        sa.update(tables.attempts)
        .where(
            attempts.job_id == sa.bindparam("of_job"),
            attempts.ix == sa.bindparam("of_ix"),
            attempts.key == sa.bindparam("of_key"),
            answered,
        )
        .values(dropped=sa.true())
    )


def _forget(connection: Connection, job_id: str, ixs: Sequence[int]) -> None:
    """Delete the replies that say nothing, and all of the layers after the first of them.

    Those layers were asked about other candidates than the item will have; a request that turns
    out the same finds its completion again.
    """
    table = tables.calls
    of_items = (table.c.job_id == job_id, table.c.ix.in_(ixs))
    first: dict[int, int] = {}
    empty: list[tuple[int, str]] = []
    columns = (table.c.ix, table.c.key, table.c.layer, table.c.text, table.c.failure)
    for row in connection.execute(sa.select(*columns).where(*of_items)):
        if row.failure is not None or not (row.text or "").strip():
            empty.append((row.ix, row.key))
            first[row.ix] = min(row.layer, first.get(row.ix, row.layer))
    for ix, key in empty:
        connection.execute(
            sa.delete(table).where(table.c.job_id == job_id, table.c.ix == ix, table.c.key == key)
        )
    for ix, layer in first.items():
        connection.execute(
            sa.delete(table).where(
                table.c.job_id == job_id, table.c.ix == ix, table.c.layer > layer
            )
        )


def _place(layer: int) -> str:
    """How the reason of an item begins that was given up there."""
    return f"layer {layer}: "


def _question(row_id: str, messages: str) -> Question:
    return Question(row_id, tuple(Message(role, text) for role, text in json.loads(messages)))


def _end(end: Answer | GaveUp) -> dict[str, object]:
    notes = json.dumps([asdict(note) for note in end.notes]) if end.notes else None
    if isinstance(end, Answer):
        return {"status": "answered", "answer": end.text, "reason": None, "notes": notes}
    return {
        "status": "given_up",
        "answer": None,
        "reason": f"{_place(end.layer)}{end.why}",
        "notes": notes,
    }
