"""Items as people and exports see them: the end, the account, and every call on the way."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from archon_batch.archon import CallKey, Message, Question, Reply
from archon_batch.errors import JobNotFoundError
from archon_batch.evaluation import Score
from archon_batch.store import tables
from archon_batch.store.compiled_sql import Record
from archon_batch.store.database import Database
from archon_batch.store.scores import Scores
from archon_batch.store.timestamps import utc
from archon_batch.store.usage_totals import Account, Accounts

#: Rows that are read at once when a job is exported.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class AttemptLine:
    n: int
    state: str
    outcome: str | None
    why: str | None
    cost: int | None
    #: The cost is the highest possible, since the provider did not report the tokens.
    estimated: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class CallLine:
    key: str
    kind: str
    model: str
    text: str | None
    failure: str | None
    #: The provider's word for why the text ends: ``stop``, ``length``, ...
    finish: str | None
    cached: bool
    saved: int | None
    attempts: Sequence[AttemptLine] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """An item's answer, if it has one, and what came with its row."""

    ix: int
    row_id: str
    status: str
    answer: str | None
    #: Why it has none.
    reason: str | None
    extras: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """An item as an export shows it."""

    ix: int
    row_id: str
    status: str
    answer: str | None
    reason: str | None
    notes: Sequence[Mapping[str, Any]]
    extras: Mapping[str, Any]
    #: From its first attempt to its end; None when nothing was sent for it.
    seconds: float | None
    account: Account = field(default_factory=Account)
    #: By metric.
    scores: Mapping[str, Score] = field(default_factory=dict)


class Endings:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts = Accounts(database)
        self._scores = Scores(database)

    def all(self, job_id: str) -> Iterator[Ending]:
        """Every item with its account, in the dataset's order, a part at a time."""
        for rows in self._parts(job_id, sa.select(tables.items)):
            yield from self._endings(job_id, rows)

    def answers(self, job_id: str) -> Iterator[Answered]:
        """Every item's answer, in the dataset's order, a part at a time."""
        table = tables.items
        query = sa.select(
            table.c.ix,
            table.c.row_id,
            table.c.status,
            table.c.answer,
            table.c.reason,
            table.c.extras,
        )
        for rows in self._parts(job_id, query):
            for row in rows:
                yield Answered(
                    ix=row.ix,
                    row_id=row.row_id,
                    status=row.status,
                    answer=row.answer,
                    reason=row.reason,
                    extras=json.loads(row.extras),
                )

    def questions(self, job_id: str) -> Iterator[tuple[int, Question]]:
        """What every item asks, in the dataset's order, a part at a time."""
        table = tables.items
        for rows in self._parts(job_id, sa.select(table.c.ix, table.c.row_id, table.c.messages)):
            for row in rows:
                yield row.ix, _question(row)

    def one(self, job_id: str, row_id: str) -> Ending:
        """The item of that row.

        Raises:
            JobNotFoundError: the job has no such row.
        """
        table = tables.items
        query = sa.select(table).where(table.c.job_id == job_id, table.c.row_id == row_id)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise JobNotFoundError(job_id, f"it has no row {row_id!r}")
        (ending,) = self._endings(job_id, [row])
        return ending

    def on_record(self, job_id: str, ix: int) -> tuple[Question, Mapping[CallKey, Reply]]:
        """What the item asks, and its replies, wherever it stands.

        A row that could not be accepted asks nothing: its question has no messages.
        """
        items, calls = tables.items, tables.calls
        asked = sa.select(items.c.row_id, items.c.messages).where(
            items.c.job_id == job_id, items.c.ix == ix
        )
        settled = sa.select(calls.c.key, calls.c.text, calls.c.failure, calls.c.finish).where(
            calls.c.job_id == job_id, calls.c.ix == ix
        )
        with self._database.reading() as connection:
            item = connection.execute(asked).one()
            replies = {
                CallKey.parse(row.key): Reply(row.text, row.failure, finish=row.finish)
                for row in connection.execute(settled)
            }
        return _question(item), replies

    def calls(self, job_id: str, ix: int) -> list[CallLine]:
        """Every call of an item with its attempts, in the order they were asked."""
        calls, attempts = tables.calls, tables.attempts
        with self._database.reading() as connection:
            settled = {
                row.key: row
                for row in connection.execute(
                    sa.select(calls).where(calls.c.job_id == job_id, calls.c.ix == ix)
                )
            }
            tried: dict[str, list[Record]] = {key: [] for key in settled}
            query = sa.select(attempts).where(attempts.c.job_id == job_id, attempts.c.ix == ix)
            for row in connection.execute(query.order_by(attempts.c.n)):
                tried.setdefault(row.key, []).append(row)
        lines = []
        for key in sorted(tried, key=lambda k: [int(part) for part in k.split(".")]):
            call = settled.get(key)
            named = call or tried[key][0]
            lines.append(
                CallLine(
                    key=key,
                    kind=named.kind,
                    model=named.model,
                    text=call.text if call else None,
                    failure=call.failure if call else None,
                    finish=call.finish if call else None,
                    cached=bool(call and call.cached),
                    saved=call.saved if call else None,
                    attempts=tuple(_attempt(row) for row in tried[key]),
                )
            )
        return lines

    def _parts(self, job_id: str, query: sa.Select[Any]) -> Iterator[Sequence[Record]]:
        table, at = tables.items, 0
        while True:
            part = query.where(table.c.job_id == job_id, table.c.ix >= at)
            with self._database.reading() as connection:
                rows = connection.execute(part.order_by(table.c.ix).limit(_CHUNK)).all()
            if not rows:
                return
            yield rows
            at = rows[-1].ix + 1

    def _endings(self, job_id: str, rows: Sequence[Record]) -> Iterator[Ending]:
        first, last = rows[0].ix, rows[-1].ix
        attempts, calls = tables.attempts, tables.calls
        groups = self._accounts.grouped(
            ("ix",),
            sa.and_(attempts.c.job_id == job_id, attempts.c.ix.between(first, last)),
            sa.and_(calls.c.job_id == job_id, calls.c.ix.between(first, last)),
        )
        query = (
            sa.select(attempts.c.ix, sa.func.min(attempts.c.begun_at))
            .where(attempts.c.job_id == job_id, attempts.c.ix.between(first, last))
            .group_by(attempts.c.ix)
        )
        with self._database.reading() as connection:
            begun = {row.ix: row[1] for row in connection.execute(query)}
        scores: dict[int, dict[str, Score]] = defaultdict(dict)
        for scored in self._scores.between(job_id, first, last):
            scores[scored.ix][scored.metric] = scored.score
        for row in rows:
            yield Ending(
                ix=row.ix,
                row_id=row.row_id,
                status=row.status,
                answer=row.answer,
                reason=row.reason,
                notes=json.loads(row.notes) if row.notes else (),
                extras=json.loads(row.extras),
                seconds=_seconds(begun.get(row.ix), row.ended_at),
                account=groups.get((row.ix,), Account()),
                scores=scores[row.ix],
            )


def _question(row: Record) -> Question:
    messages = tuple(Message(role, text) for role, text in json.loads(row.messages))
    return Question(row.row_id, messages)


def _attempt(row: Record) -> AttemptLine:
    return AttemptLine(
        n=row.n,
        state=row.state,
        outcome=row.outcome,
        why=row.why,
        cost=row.cost,
        estimated=row.estimated,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        begun_at=utc(row.begun_at),
        ended_at=utc(row.ended_at),
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()
