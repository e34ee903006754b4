"""Metrics of a job besides money: durations, outcomes, and the texts of the first layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from archon_batch.archon import CallKey
from archon_batch.store import schema
from archon_batch.store.database import Database
from archon_batch.store.sql_values import as_utc

#: Items whose attempts are read by one query.
_ITEMS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class AttemptOutcomeCount:
    """The number of attempts of one component with one outcome."""

    layer: int
    component: int
    model: str
    #: ok, or why there was no answer; None while in flight.
    outcome: str | None
    attempts: int
    #: Attempts that were not the first of their call.
    retries: int


class CallMetrics:
    def __init__(self, database: Database) -> None:
        self._database = database

    def durations(self, job_id: str) -> Iterator[tuple[tuple[int, int, str], float]]:
        """The seconds of each answered attempt, with its layer, component and model."""
        c = schema.attempts.c
        query = sa.select(c.layer, c.component, c.model, c.begun_at, c.ended_at).where(
            c.job_id == job_id, c.outcome == "ok", c.ended_at.is_not(None)
        )
        with self._database.read_transaction() as connection:
            last = connection.scalar(sa.select(sa.func.max(c.ix)).where(c.job_id == job_id))
        for first in range(0, 0 if last is None else last + 1, _ITEMS_PER_READ):
            part = query.where(c.ix.between(first, first + _ITEMS_PER_READ - 1))
            with self._database.read_transaction() as connection:
                rows = connection.execute(part).all()
            for row in rows:
                seconds = (as_utc(row.ended_at) - as_utc(row.begun_at)).total_seconds()
                yield (row.layer, row.component, row.model), seconds

    def outcome_counts(self, job_id: str) -> list[AttemptOutcomeCount]:
        """The number of attempts by component and outcome."""
        c = schema.attempts.c
        columns = (c.layer, c.component, c.model, c.outcome)
        query = (
            sa.select(
                *columns,
                sa.func.count().label("attempts"),
                sa.func.sum(sa.case((c.attempt_number > 1, 1), else_=0)).label("retries"),
            )
            .where(c.job_id == job_id)
            .group_by(*columns)
            .order_by(c.layer, c.component, c.model)
        )
        with self._database.read_transaction() as connection:
            return [
                AttemptOutcomeCount(
                    r.layer, r.component, r.model, r.outcome, r.attempts, int(r.retries)
                )
                for r in connection.execute(query)
            ]

    def first_layer_texts(
        self, job_id: str, first: int, last: int, stride: int = 1
    ) -> Mapping[int, Sequence[tuple[str, str]]]:
        """The replies of the first layer's generators, as model and text, by row.

        Covers every ``stride``-th row of the job, from ``first`` to ``last``. A re-ask replaces the
        earlier reply; replies without text are left out.
        """
        c = schema.calls.c
        query = sa.select(c.ix, c.key, c.layer, c.model, c.text).where(
            c.job_id == job_id,
            c.ix.between(first, last),
            c.ix % stride == 0,
            c.kind == "generator",
        )
        #: By row and request (layer, component, index): the reply of the last re-ask.
        rows: dict[int, dict[tuple[int, ...], tuple[CallKey, str, str | None]]] = {}
        with self._database.read_transaction() as connection:
            for row in connection.execute(query):
                key = CallKey.parse(row.key)
                replies = rows.setdefault(row.ix, {})
                earlier = replies.get(key[:3])
                if earlier is None or earlier[0] < key:
                    replies[key[:3]] = (key, row.model, row.text)
        return {
            ix: [
                (model, text)
                for (layer, *_), (_, model, text) in sorted(replies.items())
                if layer == min(replies)[0] and text is not None
            ]
            for ix, replies in rows.items()
        }
