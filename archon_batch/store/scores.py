"""Scores in the database, by job, metric and row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from archon_batch.scores import Score
from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database
from archon_batch.store.sql_values import storable

#: Rows per insert statement.
_ROWS_PER_INSERT = 1_000


@dataclass(frozen=True, slots=True)
class RowScore:
    ix: int
    metric: str
    score: Score


class RowScores:
    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(self, job_id: str, metric: str, scores: Mapping[int, Score]) -> None:
        """Replace the job's scores under a metric, given by row."""
        table = schema.scores
        rows = [
            {
                "job_id": job_id,
                "metric": metric,
                "ix": ix,
                "value": score.value,
                "extracted": storable(score.extracted),
                "unparsed_reason": storable(score.unparsed_reason),
            }
            for ix, score in scores.items()
        ]
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, f"scores {job_id} {metric}")
            connection.execute(
                sa.delete(table).where(table.c.job_id == job_id, table.c.metric == metric)
            )
            for at in range(0, len(rows), _ROWS_PER_INSERT):
                connection.execute(sa.insert(table), rows[at : at + _ROWS_PER_INSERT])

    def metric_names(self, job_id: str) -> list[str]:
        """The metrics for which the job has scores."""
        table = schema.scores
        query = sa.select(table.c.metric).where(table.c.job_id == job_id).distinct()
        with self._database.read_transaction() as connection:
            return sorted(connection.scalars(query))

    def by_row(self, job_id: str, metric: str) -> dict[int, Score]:
        """The job's scores under a metric, by row, in the dataset's order."""
        table = schema.scores
        query = sa.select(table).where(table.c.job_id == job_id, table.c.metric == metric)
        with self._database.read_transaction() as connection:
            rows = connection.execute(query.order_by(table.c.ix)).all()
        return {row.ix: _score(row) for row in rows}

    def between(self, job_id: str, first: int, last: int) -> Sequence[RowScore]:
        """The scores of the rows from ``first`` to ``last``, under every metric."""
        table = schema.scores
        query = sa.select(table).where(table.c.job_id == job_id, table.c.ix.between(first, last))
        with self._database.read_transaction() as connection:
            rows: Iterable[ResultRow] = connection.execute(
                query.order_by(table.c.ix, table.c.metric)
            )
            return [RowScore(row.ix, row.metric, _score(row)) for row in rows]


def _score(row: ResultRow) -> Score:
    return Score(row.value, row.extracted, row.unparsed_reason)
