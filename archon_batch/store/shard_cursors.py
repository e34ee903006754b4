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
from archon_batch.store.attempts import lock
from archon_batch.store.compiled_sql import fetch
from archon_batch.store.database import Database
from archon_batch.store.process_identity import is_dead

#: Seconds by which messages of one line may be in a queue before those of a line on record earlier.
_APART = 10.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A line of a job, where it stands, and the word that a message must have to move it."""

    job: str
    line: int
    word: str
    shard: int


@dataclass(frozen=True, slots=True)
class Still:
    """A line that has not moved for a while, with the queues in which its messages may wait."""

    turn: Turn
    queues: tuple[str, ...]
    #: Seconds since it last moved.
    idle: float
    #: Whether messages have been fetched that were sent later to the same queue.
    passed: bool


class Lines:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, job_id: str, width: int, via: str, queue: str) -> list[Turn]:
        """Begin the job's lines at its first open shards; lines of before are over.

        ``via`` is who carries the messages: lines of one carrier are looked after by its own.
        """
        with self._database.writing(lasting=False) as connection:
            lock(connection, [job_id])
            own = tables.lines.c
            first = sa.select(own.line).where(own.job_id == job_id).order_by(own.line)
            connection.execute(first.with_for_update()).all()
            connection.execute(sa.delete(tables.lines).where(own.job_id == job_id))
            return self._more(connection, job_id, range(width), via, queue)

    def add(self, job_id: str, count: int, via: str, queue: str) -> list[Turn]:
        """Add so many lines, as far as there are shards for them."""
        with self._database.writing(lasting=False) as connection:
            lock(connection, [job_id])
            query = sa.select(sa.func.max(tables.lines.c.line)).where(
                tables.lines.c.job_id == job_id
            )
            last = connection.execute(query).scalar()
            first = 0 if last is None else last + 1
            return self._more(connection, job_id, range(first, first + count), via, queue)

    def forsake(self, job_id: str) -> int:
        """End the lines whose carrier is a dead process of this machine; return how many."""
        own = tables.lines.c
        with self._database.writing(lasting=False) as connection:
            lock(connection, [job_id])
            query = sa.select(own.via).where(own.job_id == job_id, own.via.contains(":"))
            dead = [via for via in set(connection.scalars(query)) if is_dead(via)]
            gone = sa.delete(tables.lines).where(own.job_id == job_id, own.via.in_(dead))
            return connection.execute(gone).rowcount

    def widen(self, job_id: str, width: int, via: str, queue: str) -> list[Turn]:
        """Add lines until there are ``width``, as far as there are shards for them."""
        with self._database.writing(lasting=False) as connection:
            lock(connection, [job_id])
            query = sa.select(tables.lines.c.line).where(tables.lines.c.job_id == job_id)
            taken = set(connection.scalars(query))
            free = [n for n in range(width + len(taken)) if n not in taken]
            return self._more(connection, job_id, free[: max(0, width - len(taken))], via, queue)

    def shard(self, job_id: str, line: int, word: str) -> int | None:
        """Where the line stands; None when it has moved on since the word was given."""
        with self._database.reading() as connection:
            for row in fetch(connection, _shard, job=job_id, line=line, word=word):
                return int(row.shard)
        return None

    def round(self, turn: Turn, batches: int, queues: Collection[str]) -> Turn | None:
        """The line's next turn, which waits for so many batches; None when it has moved on."""
        with self._database.writing(lasting=False) as connection:
            return self._moved(connection, turn, turn.shard, batches, " ".join(sorted(queues)))

    def arrived(self, job_id: str, line: int, word: str) -> bool:
        """Count a batch of the turn as done; return whether it was the last."""
        with self._database.writing(lasting=False) as connection:
            at = self._database.clock(connection)
            left = fetch(connection, _one_less, job=job_id, line=line, word=word, at=at)
        return any(row.waiting <= 0 for row in left)

    def go_on(self, turn: Turn, queue: str) -> Turn | None:
        """Take the job's next open shard that no line has; the line ends when there is none."""
        with self._database.writing(lasting=False) as connection:
            lock(connection, [turn.job])
            following = _untaken(connection, turn.job, 1)
            if following:
                return self._moved(connection, turn, following[0], 0, queue)
            here = {"job": turn.job, "line": turn.line, "word": turn.word}
            connection.execute(sa.delete(tables.lines).where(*_at()), here)
            return None

    def held(self, turns: Collection[tuple[str, int, str]], *, again: bool = False) -> None:
        """Somebody works on these turns, or sends for them ``again``: that counts as a move."""
        if not turns:
            return
        own = tables.lines.c
        with self._database.writing(lasting=False) as connection:
            which = sa.tuple_(own.job_id, own.line, own.turn).in_(sorted(turns))
            # In one order: two processes may work on the same lines.
            first = sa.select(own.line).where(which).order_by(own.job_id, own.line)
            connection.execute(first.with_for_update()).all()
            at = self._database.clock(connection)
            changes = {"moved": at, "sent": at} if again else {"moved": at}
            connection.execute(sa.update(tables.lines).where(which).values(changes))

    def still(self, via: str, seconds: float) -> list[Still]:
        """The carrier's lines of running jobs that have not moved for so many seconds."""
        own, jobs = tables.lines.c, tables.jobs.c
        with self._database.reading() as connection:
            at = self._database.clock(connection)
            # What moved in the future moved by a clock that was ahead: nobody knows when.
            is_still = sa.or_(own.moved < at - seconds, own.moved > at + seconds)
            query = (
                sa.select(tables.lines, _passed().label("passed"))
                .join(tables.jobs, jobs.id == own.job_id)
                .where(jobs.state == "running", own.via == via, is_still)
                .order_by(own.job_id, own.line)
            )
            return [
                Still(
                    Turn(row.job_id, row.line, row.turn, row.shard),
                    tuple(row.queues.split()),
                    at - row.moved,
                    bool(row.passed),
                )
                for row in connection.execute(query)
            ]

    def widths(self, via: str) -> dict[str, int]:
        """How many lines each running job of the carrier has."""
        own, jobs = tables.lines.c, tables.jobs.c
        query = (
            sa.select(own.job_id, sa.func.count())
            .join(tables.jobs, jobs.id == own.job_id)
            .where(jobs.state == "running", own.via == via)
            .group_by(own.job_id)
        )
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _more(
        self, connection: Connection, job_id: str, numbers: Sequence[int], via: str, queue: str
    ) -> list[Turn]:
        shards = _untaken(connection, job_id, len(numbers))
        turns = [
            Turn(job_id, line, _word(), shard) for line, shard in zip(numbers, shards, strict=False)
        ]
        if turns:
            at = self._database.clock(connection)
            row = {"via": via, "waiting": 0, "queues": queue, "moved": at, "sent": at}
            connection.execute(
                sa.insert(tables.lines),
                [
                    {"job_id": t.job, "line": t.line, "turn": t.word, "shard": t.shard, **row}
                    for t in turns
                ],
            )
        return turns

    def _moved(
        self, connection: Connection, turn: Turn, shard: int, waiting: int, queues: str
    ) -> Turn | None:
        following = Turn(turn.job, turn.line, _word(), shard)
        changed = fetch(
            connection,
            _next,
            job=turn.job,
            line=turn.line,
            word=turn.word,
            next=following.word,
            shard=shard,
            waiting=waiting,
            queues=queues,
            at=self._database.clock(connection),
        )
        return following if changed else None


def _word() -> str:
    return uuid.uuid4().hex[:16]


def _at() -> list[sa.ColumnElement[bool]]:
    """The line, if the word is still its turn's."""
    own = tables.lines.c
    names = {"job": own.job_id, "line": own.line, "word": own.turn}
    return [column == sa.bindparam(name, type_=column.type) for name, column in names.items()]


def _shard(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(tables.lines.c.shard).where(*_at())


def _one_less(_sqlite: bool) -> Any:  # noqa: ANN401
    own = tables.lines.c
    values = {
        "waiting": own.waiting - sa.literal_column("1"),
        "moved": sa.bindparam("at", type_=own.moved.type),
    }
    return sa.update(tables.lines).where(*_at()).values(values).returning(own.waiting)


def _next(_sqlite: bool) -> Any:  # noqa: ANN401
    own = tables.lines.c
    given = {"turn": "next", "shard": "shard", "waiting": "waiting", "queues": "queues"}
    values = {
        name: sa.bindparam(bind, type_=own[name].type)
        for name, bind in {**given, "moved": "at", "sent": "at"}.items()
    }
    return sa.update(tables.lines).where(*_at()).values(values).returning(own.line)


def _passed() -> sa.ColumnElement[bool]:
    """Whether somebody works on what was sent later, to the line's one queue and as urgently.

    A queue is served in order. Of a line whose messages wait in several nothing can be said.
    """
    own, jobs = tables.lines.c, tables.jobs.c
    later, of = tables.lines.alias(), tables.jobs.alias()
    return own.queues.not_like("% %") & sa.exists().where(
        later.c.via == own.via,
        later.c.queues == own.queues,
        later.c.sent > own.sent + _APART,
        later.c.moved > later.c.sent,
        of.c.id == later.c.job_id,
        of.c.priority == jobs.priority,
    )


def _untaken(connection: Connection, job_id: str, count: int) -> list[int]:
    """The first shards with open items that no line of the job has; the job must be locked."""
    items, lines = tables.items.c, tables.lines.c
    taken = sa.select(lines.shard).where(lines.job_id == job_id)
    query = (
        sa.select(items.shard)
        .where(items.job_id == job_id, items.status == "open", items.shard.not_in(taken))
        .distinct()
        .order_by(items.shard)
        .limit(count)
    )
    return list(connection.scalars(query)) if count else []
