"""Shard cursors: each takes a job's shards one after another, moved by messages.

A message carries the cursor's fencing token. Each step of the cursor changes the token, so that a
duplicate or late message finds a newer token and does nothing.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import schema
from archon_batch.store.attempts import lock_jobs
from archon_batch.store.compiled_sql import fetch_rows
from archon_batch.store.database import Database
from archon_batch.store.process_identity import is_dead

#: Seconds: messages sent within this time may be queued in another order than recorded.
_OVERTAKEN_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """The position of a job's cursor, and the token that a message needs to move it."""

    job_id: str
    cursor: int
    token: str
    shard: int


@dataclass(frozen=True, slots=True)
class StalledCursor:
    """A cursor without recent progress, and the queues that may hold its messages."""

    position: CursorPosition
    queues: tuple[str, ...]
    #: Seconds since its last progress.
    idle_seconds: float
    #: Whether a worker has taken a message that was sent later to the same queue.
    overtaken: bool


class ShardCursors:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Delete the job's cursors and create new ones at its first open shards.

        ``carrier`` carries the messages: ``broker``, or a process. Each carrier's watchdog recovers
        only its own cursors.
        """
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            c = schema.shard_cursors.c
            # Lock the rows in order: processes may be reporting progress on them.
            rows = sa.select(c.cursor).where(c.job_id == job_id).order_by(c.cursor)
            connection.execute(rows.with_for_update()).all()
            connection.execute(sa.delete(schema.shard_cursors).where(c.job_id == job_id))
            return self._create(connection, job_id, range(count), carrier, queue)

    def add(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Add up to ``count`` cursors, as far as there are free shards."""
        c = schema.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            last = connection.scalar(sa.select(sa.func.max(c.cursor)).where(c.job_id == job_id))
            first = 0 if last is None else last + 1
            return self._create(connection, job_id, range(first, first + count), carrier, queue)

    def release_dead(self, job_id: str) -> int:
        """Delete the cursors whose carrier is a dead process of this machine; return how many."""
        c = schema.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            query = sa.select(c.carrier).where(c.job_id == job_id, c.carrier.contains(":"))
            dead = [carrier for carrier in set(connection.scalars(query)) if is_dead(carrier)]
            delete = sa.delete(schema.shard_cursors).where(c.job_id == job_id, c.carrier.in_(dead))
            return connection.execute(delete).rowcount

    def scale_up(self, job_id: str, count: int, carrier: str, queue: str) -> list[CursorPosition]:
        """Add cursors up to ``count`` in total, as far as there are free shards."""
        c = schema.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [job_id])
            used = set(connection.scalars(sa.select(c.cursor).where(c.job_id == job_id)))
            free = [number for number in range(count + len(used)) if number not in used]
            missing = max(0, count - len(used))
            return self._create(connection, job_id, free[:missing], carrier, queue)

    def current_shard(self, job_id: str, cursor: int, token: str) -> int | None:
        """The cursor's shard; None if the token is outdated."""
        with self._database.read_transaction() as connection:
            for row in fetch_rows(
                connection, _current_shard_query, job=job_id, cursor=cursor, token=token
            ):
                return int(row.shard)
        return None

    def start_round(
        self, position: CursorPosition, batches: int, queues: Collection[str]
    ) -> CursorPosition | None:
        """Start a round of ``batches`` batches; return None if the token is outdated."""
        with self._database.write_transaction(durable=False) as connection:
            names = " ".join(sorted(queues))
            return self._advance(connection, position, position.shard, batches, names)

    def batch_done(self, job_id: str, cursor: int, token: str) -> bool:
        """Count a batch of the round as done; return whether it was the last one."""
        with self._database.write_transaction(durable=False) as connection:
            at = self._database.epoch_seconds(connection)
            rows = fetch_rows(
                connection, _batch_done_update, job=job_id, cursor=cursor, token=token, at=at
            )
        return any(row.pending_batches <= 0 for row in rows)

    def next_shard(self, position: CursorPosition, queue: str) -> CursorPosition | None:
        """Move to the job's next free open shard.

        Return None if there is none, which deletes the cursor, or if the token is outdated.
        """
        with self._database.write_transaction(durable=False) as connection:
            lock_jobs(connection, [position.job_id])
            shards = _free_shards(connection, position.job_id, 1)
            if shards:
                return self._advance(connection, position, shards[0], 0, queue)
            connection.execute(
                sa.delete(schema.shard_cursors).where(*_position_matches()),
                {"job": position.job_id, "cursor": position.cursor, "token": position.token},
            )
            return None

    def heartbeat(self, cursors: Collection[tuple[str, int, str]], *, resent: bool = False) -> None:
        """Record progress of cursors (job id, number, token), or that messages were ``resent``."""
        if not cursors:
            return
        c = schema.shard_cursors.c
        with self._database.write_transaction(durable=False) as connection:
            matches = sa.tuple_(c.job_id, c.cursor, c.token).in_(sorted(cursors))
            # Lock the rows in order: two processes may report the same cursors.
            rows = sa.select(c.cursor).where(matches).order_by(c.job_id, c.cursor)
            connection.execute(rows.with_for_update()).all()
            at = self._database.epoch_seconds(connection)
            changes = {"progress_at": at, "sent_at": at} if resent else {"progress_at": at}
            connection.execute(sa.update(schema.shard_cursors).where(matches).values(changes))

    def stalled(self, carrier: str, seconds: float) -> list[StalledCursor]:
        """The carrier's cursors of running jobs without progress for so many seconds."""
        c, jobs = schema.shard_cursors.c, schema.jobs.c
        with self._database.read_transaction() as connection:
            at = self._database.epoch_seconds(connection)
            # Progress in the future was recorded by a clock that was ahead: its time is unknown.
            is_stalled = sa.or_(c.progress_at < at - seconds, c.progress_at > at + seconds)
            query = (
                sa.select(schema.shard_cursors, _overtaken().label("overtaken"))
                .join(schema.jobs, jobs.id == c.job_id)
                .where(jobs.state == "running", c.carrier == carrier, is_stalled)
                .order_by(c.job_id, c.cursor)
            )
            return [
                StalledCursor(
                    CursorPosition(row.job_id, row.cursor, row.token, row.shard),
                    tuple(row.queues.split()),
                    at - row.progress_at,
                    bool(row.overtaken),
                )
                for row in connection.execute(query)
            ]

    def counts_by_job(self, carrier: str) -> dict[str, int]:
        """The number of cursors of each running job of the carrier."""
        c, jobs = schema.shard_cursors.c, schema.jobs.c
        query = (
            sa.select(c.job_id, sa.func.count())
            .join(schema.jobs, jobs.id == c.job_id)
            .where(jobs.state == "running", c.carrier == carrier)
            .group_by(c.job_id)
        )
        with self._database.read_transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _create(
        self,
        connection: Connection,
        job_id: str,
        numbers: Sequence[int],
        carrier: str,
        queue: str,
    ) -> list[CursorPosition]:
        shards = _free_shards(connection, job_id, len(numbers))
        positions = [
            CursorPosition(job_id, number, _new_token(), shard)
            for number, shard in zip(numbers, shards, strict=False)
        ]
        if positions:
            at = self._database.epoch_seconds(connection)
            rows = [
                {
                    "job_id": position.job_id,
                    "cursor": position.cursor,
                    "token": position.token,
                    "shard": position.shard,
                    "pending_batches": 0,
                    "queues": queue,
                    "carrier": carrier,
                    "progress_at": at,
                    "sent_at": at,
                }
                for position in positions
            ]
            connection.execute(sa.insert(schema.shard_cursors), rows)
        return positions

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
            cursor=position.cursor,
            token=position.token,
            new_token=following.token,
            shard=shard,
            pending_batches=pending_batches,
            queues=queues,
            at=self._database.epoch_seconds(connection),
        )
        return following if changed else None


def _new_token() -> str:
    return uuid.uuid4().hex[:16]


def _position_matches() -> list[sa.ColumnElement[bool]]:
    """The row of a cursor, provided that the token is current."""
    c = schema.shard_cursors.c
    names = {"job": c.job_id, "cursor": c.cursor, "token": c.token}
    return [column == sa.bindparam(name, type_=column.type) for name, column in names.items()]


def _current_shard_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(schema.shard_cursors.c.shard).where(*_position_matches())


def _batch_done_update(_sqlite: bool) -> Any:  # noqa: ANN401
    c = schema.shard_cursors.c
    values = {
        "pending_batches": c.pending_batches - sa.literal_column("1"),
        "progress_at": sa.bindparam("at", type_=c.progress_at.type),
    }
    update = sa.update(schema.shard_cursors).where(*_position_matches())
    return update.values(values).returning(c.pending_batches)


def _advance_update(_sqlite: bool) -> Any:  # noqa: ANN401
    c = schema.shard_cursors.c
    parameters = {
        "token": "new_token",
        "shard": "shard",
        "pending_batches": "pending_batches",
        "queues": "queues",
        "progress_at": "at",
        "sent_at": "at",
    }
    values = {
        column: sa.bindparam(name, type_=c[column].type) for column, name in parameters.items()
    }
    update = sa.update(schema.shard_cursors).where(*_position_matches())
    return update.values(values).returning(c.cursor)


def _overtaken() -> sa.ColumnElement[bool]:
    """Whether a worker has taken a later message of the same queue and priority.

    Queues are FIFO. With messages in several queues we cannot tell whether one was overtaken.
    """
    c, jobs = schema.shard_cursors.c, schema.jobs.c
    later, later_job = schema.shard_cursors.alias(), schema.jobs.alias()
    return c.queues.not_like("% %") & sa.exists().where(
        later.c.carrier == c.carrier,
        later.c.queues == c.queues,
        later.c.sent_at > c.sent_at + _OVERTAKEN_AFTER,
        later.c.progress_at > later.c.sent_at,
        later_job.c.id == later.c.job_id,
        later_job.c.priority == jobs.priority,
    )


def _free_shards(connection: Connection, job_id: str, count: int) -> list[int]:
    """The first shards with open items that no cursor of the job has; the job must be locked."""
    items, cursors = schema.items.c, schema.shard_cursors.c
    taken = sa.select(cursors.shard).where(cursors.job_id == job_id)
    query = (
        sa.select(items.shard)
        .where(items.job_id == job_id, items.status == "open", items.shard.not_in(taken))
        .distinct()
        .order_by(items.shard)
        .limit(count)
    )
    return list(connection.scalars(query)) if count else []
