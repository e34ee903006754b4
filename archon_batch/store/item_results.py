"""Results of items, for people and exports: the answer, the usage, and every call."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from archon_batch.archon import CallKey, Message, Question, Reply
from archon_batch.errors import JobNotFoundError
from archon_batch.scores import Score
from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.scores import RowScores
from archon_batch.store.sql_values import as_utc
from archon_batch.store.usage_totals import UsageQueries, UsageTotals

#: Rows per query when all items of a job are read.
_ROWS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    attempt_number: int
    state: str
    outcome: str | None
    detail: str | None
    cost: int | None
    #: The cost is the highest possible, because the provider did not report the tokens.
    estimated: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    key: str
    kind: str
    model: str
    text: str | None
    failure: str | None
    #: Why the text ends, as the provider says: ``stop``, ``length``, ...
    finish_reason: str | None
    cached: bool
    cache_saved: int | None
    attempts: Sequence[AttemptRecord] = ()


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """An item's answer, if it has one, and the other keys of its row."""

    ix: int
    row_id: str
    status: str
    answer: str | None
    #: Why it has no answer.
    reason: str | None
    extras: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """An item as exports show it."""

    ix: int
    row_id: str
    status: str
    answer: str | None
    reason: str | None
    warnings: Sequence[Mapping[str, Any]]
    extras: Mapping[str, Any]
    #: From its first attempt to its result; None if nothing was sent for it.
    seconds: float | None
    usage: UsageTotals = field(default_factory=UsageTotals)
    #: By metric.
    scores: Mapping[str, Score] = field(default_factory=dict)


class ItemResults:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._usage = UsageQueries(database)
        self._scores = RowScores(database)

    def all(self, job_id: str) -> Iterator[ItemResult]:
        """Iterate over every item with its usage and scores, in the dataset's order."""
        for rows in self._chunks(job_id, sa.select(schema.items)):
            yield from self._results(job_id, rows)

    def answers(self, job_id: str) -> Iterator[ItemAnswer]:
        """Iterate over every item's answer, in the dataset's order."""
        table = schema.items
        query = sa.select(
            table.c.ix,
            table.c.row_id,
            table.c.status,
            table.c.answer,
            table.c.reason,
            table.c.extras,
        )
        for rows in self._chunks(job_id, query):
            for row in rows:
                yield ItemAnswer(
                    ix=row.ix,
                    row_id=row.row_id,
                    status=row.status,
                    answer=row.answer,
                    reason=row.reason,
                    extras=json.loads(row.extras),
                )

    def questions(self, job_id: str) -> Iterator[tuple[int, Question]]:
        """Iterate over the index and the question of every item, in the dataset's order."""
        table = schema.items
        for rows in self._chunks(job_id, sa.select(table.c.ix, table.c.row_id, table.c.messages)):
            for row in rows:
                yield row.ix, _question(row)

    def get(self, job_id: str, row_id: str) -> ItemResult:
        """The item of the row.

        Raises:
            JobNotFoundError: the job has no such row.
        """
        table = schema.items
        query = sa.select(table).where(table.c.job_id == job_id, table.c.row_id == row_id)
        with self._database.read_transaction() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise JobNotFoundError(job_id, f"it has no row {row_id!r}")
        (item,) = self._results(job_id, [row])
        return item

    def question_and_replies(
        self, job_id: str, ix: int
    ) -> tuple[Question, Mapping[CallKey, Reply]]:
        """The item's question and its replies so far.

        The question of a rejected row has no messages.
        """
        items, calls = schema.items, schema.calls
        question = sa.select(items.c.row_id, items.c.messages).where(
            items.c.job_id == job_id, items.c.ix == ix
        )
        settled = sa.select(
            calls.c.key, calls.c.text, calls.c.failure, calls.c.finish_reason
        ).where(calls.c.job_id == job_id, calls.c.ix == ix)
        with self._database.read_transaction() as connection:
            item = connection.execute(question).one()
            replies = {
                CallKey.parse(row.key): Reply(
                    row.text, row.failure, finish_reason=row.finish_reason
                )
                for row in connection.execute(settled)
            }
        return _question(item), replies

    def calls(self, job_id: str, ix: int) -> list[CallRecord]:
        """Every call of an item with its attempts, in the order of their keys."""
        calls, attempts = schema.calls, schema.attempts
        with self._database.read_transaction() as connection:
            settled = {
                row.key: row
                for row in connection.execute(
                    sa.select(calls).where(calls.c.job_id == job_id, calls.c.ix == ix)
                )
            }
            attempts_by_key: dict[str, list[ResultRow]] = {key: [] for key in settled}
            query = sa.select(attempts).where(attempts.c.job_id == job_id, attempts.c.ix == ix)
            for row in connection.execute(query.order_by(attempts.c.attempt_number)):
                attempts_by_key.setdefault(row.key, []).append(row)
        records = []
        for key in sorted(attempts_by_key, key=lambda k: [int(part) for part in k.split(".")]):
            call = settled.get(key)
            described = call or attempts_by_key[key][0]
            records.append(
                CallRecord(
                    key=key,
                    kind=described.kind,
                    model=described.model,
                    text=call.text if call else None,
                    failure=call.failure if call else None,
                    finish_reason=call.finish_reason if call else None,
                    cached=bool(call and call.cached),
                    cache_saved=call.cache_saved if call else None,
                    attempts=tuple(_attempt_record(row) for row in attempts_by_key[key]),
                )
            )
        return records

    def _chunks(self, job_id: str, query: sa.Select[Any]) -> Iterator[Sequence[ResultRow]]:
        table, at = schema.items, 0
        while True:
            part = query.where(table.c.job_id == job_id, table.c.ix >= at)
            with self._database.read_transaction() as connection:
                rows = connection.execute(part.order_by(table.c.ix).limit(_ROWS_PER_READ)).all()
            if not rows:
                return
            yield rows
            at = rows[-1].ix + 1

    def _results(self, job_id: str, rows: Sequence[ResultRow]) -> Iterator[ItemResult]:
        first, last = rows[0].ix, rows[-1].ix
        attempts, calls = schema.attempts, schema.calls
        groups = self._usage.grouped_by(
            ("ix",),
            sa.and_(attempts.c.job_id == job_id, attempts.c.ix.between(first, last)),
            sa.and_(calls.c.job_id == job_id, calls.c.ix.between(first, last)),
        )
        query = (
            sa.select(attempts.c.ix, sa.func.min(attempts.c.begun_at))
            .where(attempts.c.job_id == job_id, attempts.c.ix.between(first, last))
            .group_by(attempts.c.ix)
        )
        with self._database.read_transaction() as connection:
            began_at = {row.ix: row[1] for row in connection.execute(query)}
        scores: dict[int, dict[str, Score]] = defaultdict(dict)
        for row_score in self._scores.between(job_id, first, last):
            scores[row_score.ix][row_score.metric] = row_score.score
        for row in rows:
            yield ItemResult(
                ix=row.ix,
                row_id=row.row_id,
                status=row.status,
                answer=row.answer,
                reason=row.reason,
                warnings=json.loads(row.warnings) if row.warnings else (),
                extras=json.loads(row.extras),
                seconds=_seconds(began_at.get(row.ix), row.ended_at),
                usage=groups.get((row.ix,), UsageTotals()),
                scores=scores[row.ix],
            )


def _question(row: ResultRow) -> Question:
    messages = tuple(Message(role, text) for role, text in json.loads(row.messages))
    return Question(row.row_id, messages)


def _attempt_record(row: ResultRow) -> AttemptRecord:
    return AttemptRecord(
        attempt_number=row.attempt_number,
        state=row.state,
        outcome=row.outcome,
        detail=row.detail,
        cost=row.cost,
        estimated=row.estimated,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        begun_at=as_utc(row.begun_at),
        ended_at=as_utc(row.ended_at),
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()
