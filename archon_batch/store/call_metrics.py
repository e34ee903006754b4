"""What can be measured of a job besides money: how long calls took, how attempts ended, who agreed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from archon_batch.archon import CallKey
from archon_batch.store import tables
from archon_batch.store.database import Database
from archon_batch.store.timestamps import as_utc

#: Items whose attempts are read at once.
_ITEMS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class AttemptOutcomeCount:
    """Attempts of one component that ended alike."""

    layer: int
    component: int
    model: str
    #: ok, or why there was no answer; None while it is in flight.
    outcome: str | None
    attempts: int
    #: Those of them that were not the first of their call.
    retries: int


class CallMetrics:
    def __init__(self, database: Database) -> None:
        self._database = database

    def durations(self, job_id: str) -> Iterator[tuple[tuple[int, int, str], float]]:
        """How long each attempt took that got an answer, with its layer, component and model."""
        c = tables.attempts.c
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
                took = (as_utc(row.ended_at) - as_utc(row.begun_at)).total_seconds()
                yield (row.layer, row.component, row.model), took

    def outcome_counts(self, job_id: str) -> list[AttemptOutcomeCount]:
        """How the attempts ended, by component."""
        c = tables.attempts.c
        columns = (c.layer, c.component, c.model, c.outcome)
        query = (
            sa.select(
                *columns,
                sa.func.count().label("attempts"),
                sa.func.sum(sa.case((c.n > 1, 1), else_=0)).label("retries"),
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
        """What the first layer's generators said, as model and text, by the rows first to last.

        Of those only each ``stride``-th of the job's. Of a slot that was asked again, what it said
        last; nothing of one that has no text.
        """
        c = tables.calls.c
        query = sa.select(c.ix, c.key, c.layer, c.model, c.text).where(
            c.job_id == job_id,
            c.ix.between(first, last),
            c.ix % stride == 0,
            c.kind == "generator",
        )
        slots: dict[int, dict[tuple[int, ...], tuple[CallKey, str, str | None]]] = {}
        with self._database.read_transaction() as connection:
            for row in connection.execute(query):
                key = CallKey.parse(row.key)
                of_row = slots.setdefault(row.ix, {})
                before = of_row.get(key[:3])
                if before is None or before[0] < key:
                    of_row[key[:3]] = (key, row.model, row.text)
        return {
            ix: [
                (model, text)
                for (layer, *_), (_, model, text) in sorted(of_row.items())
                if layer == min(of_row)[0] and text is not None
            ]
            for ix, of_row in slots.items()
        }
