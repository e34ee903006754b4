"""Lines: each takes a job's shards on, one after another, and knows which message may move it.

A message carries the line's turn. Whoever moves the line changes the turn, so that a message that
comes twice, or late, finds another turn and does nothing.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import tables
from archon_batch.store.attempts import lock_jobs
from archon_batch.store.compiled_sql import fetch_rows
from archon_batch.store.database import Database
from archon_batch.store.process_identity import is_dead

#: Seconds by which messages of one line may be in a queue before those of a line on record earlier.
_OVERTAKEN_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """A line of a job, where it stands, and the word that a message must have to move it."""

    job_id: str
    cursor: int
    token: str
    shard: int


@dataclass(frozen=True, slots=True)
class StalledCursor:
    """A line that has not moved for a while, with the queues in which its messages may wait."""

    position: CursorPosition
    queues: tuple[str, ...]
    #: Seconds since it last moved.
    idle_seconds: float
    #: Whether messages have been fetched that were sent later to the same queue.
    overtaken: bool


class ShardCursors:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Begin the job's lines at its first open shards; lines of before are over.

        ``carrier`` is who carries the messages: lines of one carrier are looked after by its own.
        """
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            own = tables.shard_cursors.c
            first = sa.select(own.line).where(own.job_id == job_id).order_by(own.line)
            connection.execute(first.with_for_update()).all()
            connection.execute(sa.delete(tables.shard_cursors).where(own.job_id == job_id))
            return self._create(connection, job_id, range(count), carrier, queue)

    def add(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Add so many lines, as far as there are shards for them."""
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(sa.func.max(tables.shard_cursors.c.line)).where(
                tables.shard_cursors.c.job_id == job_id
            )
            last = connection.execute(query).scalar()
            first = 0 if last is None else last + 1
            return self._create(connection, job_id, range(first, first + count), carrier, queue)

    def release_dead(self, job_id: str) -> int:
        """End the lines whose carrier is a dead process of this machine; return how many."""
        own = tables.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(own.via).where(own.job_id == job_id, own.via.contains(":"))
            dead = [via for via in set(connection.scalars(query)) if is_dead(via)]
            gone = sa.delete(tables.shard_cursors).where(own.job_id == job_id, own.via.in_(dead))
            return connection.execute(gone).rowcount

    def scale_up(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Add lines until there are ``count``, as far as there are shards for them."""
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(tables.shard_cursors.c.line).where(
                tables.shard_cursors.c.job_id == job_id
            )
            taken = set(connection.scalars(query))
            free = [n for n in range(count + len(taken)) if n not in taken]
            return self._create(
                connection, job_id, free[: max(0, count - len(taken))], carrier, queue
            )

    def current_shard(self, job_id: str, cursor: int, token: str) -> int | None:
        """Where the line stands; None when it has moved on since the word was given."""
        with self._database.read_transaction() as connection:
            for row in fetch_rows(
                connection, _current_shard_query, job=job_id, line=cursor, word=token
            ):
                return int(row.shard)
        return None

    def start_round(
        self, position: CursorPosition, batches: int, queues: Collection[str]
    ) -> CursorPosition | None:
        """The line's next turn, which waits for so many batches; None when it has moved on."""
        with self._database.write_transaction(durable=False) as connection:
            return self._advance(
                connection, position, position.shard, batches, " ".join(sorted(queues))
            )

    def batch_done(self, job_id: str, cursor: int, token: str) -> bool:
        """Count a batch of the turn as done; return whether it was the last."""
        with self._database.write_transaction(durable=False) as connection:
            at = self._database.epoch_seconds(connection)
            left = fetch_rows(
                connection, _batch_done_update, job=job_id, line=cursor, word=token, at=at
            )
        return any(row.waiting <= 0 for row in left)

    def next_shard(self, position: CursorPosition, queue: str) -> CursorPosition | None:
        """Take the job's next open shard that no line has; the line ends when there is none."""
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [position.job_id])
            following = _free_shards(connection, position.job_id, 1)
            if following:
                return self._advance(connection, position, following[0], 0, queue)
            here = {"job": position.job_id, "line": position.cursor, "word": position.token}
            connection.execute(sa.delete(tables.shard_cursors).where(*_position_matches()), here)
            return None

    def heartbeat(self, cursors: Collection[tuple[str, int, str]], *, resent: bool = False) -> None:
        """Somebody works on these turns, or sends for them ``resent``: that counts as a move."""
        if not cursors:
            return
        own = tables.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            which = sa.tuple_(own.job_id, own.line, own.turn).in_(sorted(cursors))
            # In one order: two processes may work on the same lines.
            first = sa.select(own.line).where(which).order_by(own.job_id, own.line)
            connection.execute(first.with_for_update()).all()
            at = self._database.epoch_seconds(connection)
            changes = {"moved": at, "sent": at} if resent else {"moved": at}
            connection.execute(sa.update(tables.shard_cursors).where(which).values(changes))

    def stalled(self, carrier: str, seconds: float) -> list[StalledCursor]:
        """The carrier's lines of running jobs that have not moved for so many seconds."""
        own, jobs = tables.shard_cursors.c, tables.jobs.c
        with self._database.read_transaction() as connection:
            at = self._database.epoch_seconds(connection)
            # What moved in the future moved by a clock that was ahead: nobody knows when.
            is_still = sa.or_(own.moved < at - seconds, own.moved > at + seconds)
            query = (
                sa.select(tables.shard_cursors, _overtaken().label("passed"))
                .join(tables.jobs, jobs.id == own.job_id)
                .where(jobs.state == "running", own.via == carrier, is_still)
                .order_by(own.job_id, own.line)
            )
            return [
                StalledCursor(
                    CursorPosition(row.job_id, row.line, row.turn, row.shard),
                    tuple(row.queues.split()),
                    at - row.moved,
                    bool(row.passed),
                )
                for row in connection.execute(query)
            ]

    def counts_by_job(self, carrier: str) -> dict[str, int]:
        """How many lines each running job of the carrier has."""
        own, jobs = tables.shard_cursors.c, tables.jobs.c
        query = (
            sa.select(own.job_id, sa.func.count())
            .join(tables.jobs, jobs.id == own.job_id)
            .where(jobs.state == "running", own.via == carrier)
            .group_by(own.job_id)
        )
        with self._database.read_transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _create(
        self, connection: Connection, job_id: str, numbers: Sequence[int], carrier: str, queue: str
    ) -> list[CursorPosition]:
        shards = _free_shards(connection, job_id, len(numbers))
        turns = [
            CursorPosition(job_id, line, _new_token(), shard)
            for line, shard in zip(numbers, shards, strict=False)
        ]
        if turns:
            at = self._database.epoch_seconds(connection)
            row = {"via": carrier, "waiting": 0, "queues": queue, "moved": at, "sent": at}
            connection.execute(
                sa.insert(tables.shard_cursors),
                [
                    {"job_id": t.job_id, "line": t.cursor, "turn": t.token, "shard": t.shard, **row}
                    for t in turns
                ],
            )
        return turns

    def _advance(
        self,
        connection: Connection,
        position: CursorPosition,
        shard: int,
        pending_batches: int,
        queues: str,
    ) -> CursorPosition | None:
        following = CursorPosition(position.job_id, position.cursor, _new_token(), shard)
        changed = fetch_rows(
            connection,
            _advance_update,
            job=position.job_id,
            line=position.cursor,
            word=position.token,
            next=following.token,
            shard=shard,
            waiting=pending_batches,
            queues=queues,
            at=self._database.epoch_seconds(connection),
        )
        return following if changed else None


def _new_token() -> str:
    return uuid.uuid4().hex[:16]


def _position_matches() -> list[sa.ColumnElement[bool]]:
    """The line, if the word is still its turn's."""
    own = tables.shard_cursors.c
    names = {"job": own.job_id, "line": own.line, "word": own.turn}
    return [column == sa.bindparam(name, type_=column.type) for name, column in names.items()]


def _current_shard_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(tables.shard_cursors.c.shard).where(*_position_matches())


def _batch_done_update(_sqlite: bool) -> Any:  # noqa: ANN401
    own = tables.shard_cursors.c
    values = {
        "waiting": own.waiting - sa.literal_column("1"),
        "moved": sa.bindparam("at", type_=own.moved.type),
    }
    return (
        sa.update(tables.shard_cursors)
        .where(*_position_matches())
        .values(values)
        .returning(own.waiting)
    )


def _advance_update(_sqlite: bool) -> Any:  # noqa: ANN401
    own = tables.shard_cursors.c
    given = {"turn": "next", "shard": "shard", "waiting": "waiting", "queues": "queues"}
    values = {
        name: sa.bindparam(bind, type_=own[name].type)
        for name, bind in {**given, "moved": "at", "sent": "at"}.items()
    }
    return (
        sa.update(tables.shard_cursors)
        .where(*_position_matches())
        .values(values)
        .returning(own.line)
    )


def _overtaken() -> sa.ColumnElement[bool]:
    """Whether somebody works on what was sent later, to the line's one queue and as urgently.

    A queue is served in order. Of a line whose messages wait in several nothing can be said.
    """
    own, jobs = tables.shard_cursors.c, tables.jobs.c
    later, of = tables.shard_cursors.alias(), tables.jobs.alias()
    return own.queues.not_like("% %") & sa.exists().where(
        later.c.via == own.via,
        later.c.queues == own.queues,
        later.c.sent > own.sent + _OVERTAKEN_AFTER,
        later.c.moved > later.c.sent,
        of.c.id == later.c.job_id,
        of.c.priority == jobs.priority,
    )


def _free_shards(connection: Connection, job_id: str, count: int) -> list[int]:
    """The first shards with open items that no line of the job has; the job must be locked."""
    items, lines = tables.items.c, tables.shard_cursors.c
    taken = sa.select(lines.shard).where(lines.job_id == job_id)
    query = (
        sa.select(items.shard)
        .where(items.job_id == job_id, items.status == "open", items.shard.not_in(taken))
        .distinct()
        .order_by(items.shard)
        .limit(count)
    )
    return list(connection.scalars(query)) if count else []
