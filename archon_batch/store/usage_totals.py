"""Usage totals: the calls, attempts, tokens and costs of a job, and the progress of its items."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.database import Database

GroupBy = Literal["layer", "component", "model"]

_GROUP_COLUMNS: Mapping[GroupBy, tuple[str, ...]] = {
    "layer": ("layer",),
    "component": ("layer", "component", "kind", "model"),
    "model": ("model",),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of items by status."""

    open: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Totals. Tokens and costs include every attempt, also those without an answer."""

    calls: int = 0
    #: Calls answered by the completion cache.
    cached_calls: int = 0
    attempts: int = 0
    failed_calls: int = 0
    #: Billed attempts without a known price.
    unpriced_calls: int = 0
    #: Attempts that may have been billed although no answer came.
    in_doubt: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Nano-dollars that were settled.
    cost: int = 0
    #: Nano-dollars that attempts in doubt may have cost.
    in_doubt_cost: int = 0
    #: The part of ``cost`` for attempts without an answer.
    failed_cost: int = 0
    #: The part of ``cost`` for re-asks after unparsed replies.
    reask_cost: int = 0
    #: The part of ``cost`` for candidates that no answer uses.
    unused_cost: int = 0
    #: Nano-dollars saved by the completion cache.
    cache_saved: int = 0

    def __add__(self, other: "UsageTotals") -> "UsageTotals":
        return UsageTotals(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(UsageTotals))
        )


class UsageQueries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, job_id: str) -> Progress:
        c = schema.items.c
        query = sa.select(c.status, sa.func.count()).where(c.job_id == job_id).group_by(c.status)
        with self._database.read_transaction() as connection:
            return Progress(**{row.status: row[1] for row in connection.execute(query)})

    def total(self, job_id: str) -> UsageTotals:
        return sum((totals for _, totals in self.by_group(job_id, "model")), UsageTotals())

    def by_group(
        self, job_id: str, group_by: GroupBy
    ) -> list[tuple[Mapping[str, Any], UsageTotals]]:
        """The totals of each layer, component or model, with the columns that identify it.

        They come from the table that triggers maintain, so the time does not grow with the job.
        """
        names, c = _GROUP_COLUMNS[group_by], schema.usage_totals.c
        columns = [c[name] for name in names]
        totals = [sa.func.sum(c[f.name]).label(f.name) for f in fields(UsageTotals)]
        query = (
            sa.select(*columns, *totals)
            .where(c.job_id == job_id)
            .group_by(*columns)
            # Skip groups whose entries were all deleted.
            .having(sa.func.sum(c.attempts + c.calls) > 0)
        )
        with self._database.read_transaction() as connection:
            rows = connection.execute(query).all()
        return [
            (dict(zip(names, row, strict=False)), UsageTotals(*map(int, row[len(names) :])))
            for row in sorted(rows, key=lambda row: row[: len(names)])
        ]

    def recomputed(
        self, job_id: str, group_by: GroupBy
    ) -> list[tuple[Mapping[str, Any], UsageTotals]]:
        """The same as ``by_group``, computed from every call and attempt."""
        names = _GROUP_COLUMNS[group_by]
        groups = self.grouped_by(
            names, schema.attempts.c.job_id == job_id, schema.calls.c.job_id == job_id
        )
        return [
            (dict(zip(names, key, strict=True)), totals) for key, totals in sorted(groups.items())
        ]

    def including_cached(self, job_id: str) -> dict[int, UsageTotals]:
        """The totals of each item, as if the job had paid for its cache hits."""
        calls, completions = schema.calls, schema.completions
        groups = self.grouped_by(
            ("ix",), schema.attempts.c.job_id == job_id, schema.calls.c.job_id == job_id
        )
        is_unpriced = sa.case((calls.c.cache_saved.is_(None), 1), else_=0)
        query = (
            sa.select(
                calls.c.ix,
                sa.func.sum(calls.c.cache_saved).label("cost"),
                sa.func.sum(is_unpriced).label("unpriced_calls"),
                sa.func.sum(completions.c.prompt_tokens).label("prompt_tokens"),
                sa.func.sum(completions.c.completion_tokens).label("completion_tokens"),
            )
            .outerjoin(completions, completions.c.fingerprint == calls.c.fingerprint)
            .where(calls.c.job_id == job_id, calls.c.cached)
            .group_by(calls.c.ix)
        )
        by_item = {ix: totals for (ix,), totals in groups.items()}
        with self._database.read_transaction() as connection:
            for row in connection.execute(query).mappings():
                cached = {name: int(value or 0) for name, value in row.items() if name != "ix"}
                by_item[row["ix"]] += UsageTotals(**cached)
        return by_item

    def warning_counts(self, job_id: str) -> dict[tuple[int, int, str], int]:
        """The number of warnings by layer, component and kind."""
        c = schema.items.c
        query = sa.select(c.warnings).where(c.job_id == job_id, c.warnings.is_not(None))
        counts: dict[tuple[int, int, str], int] = {}
        with self._database.read_transaction() as connection:
            for text in connection.scalars(query):
                for warning in json.loads(text):
                    key = (warning["layer"], warning["component"], warning["kind"])
                    counts[key] = counts.get(key, 0) + 1
        return counts

    def grouped_by(
        self,
        names: Sequence[str],
        attempt_condition: sa.ColumnElement[bool],
        call_condition: sa.ColumnElement[bool],
    ) -> dict[tuple[Any, ...], UsageTotals]:
        """Totals by columns that calls and attempts share, from the rows that match."""
        groups: dict[tuple[Any, ...], UsageTotals] = {}
        with self._database.read_transaction() as connection:
            for table, sums, condition in (
                (schema.attempts, _attempt_sums(), attempt_condition),
                (schema.calls, _call_sums(), call_condition),
            ):
                columns = [table.c[name] for name in names]
                query = sa.select(*columns, *sums).where(condition).group_by(*columns)
                for row in connection.execute(query).mappings():
                    totals = {k: int(v or 0) for k, v in row.items() if k not in names}
                    key = tuple(row[name] for name in names)
                    groups[key] = groups.get(key, UsageTotals()) + UsageTotals(**totals)
        return groups


def _attempt_sums() -> list[sa.ColumnElement[Any]]:
    c = schema.attempts.c
    # The last number of a call's key counts its re-asks.
    is_reask = ~c.key.endswith(".0")
    is_unpriced = sa.and_(c.state == "billed", c.cost.is_(None))
    is_in_doubt = c.state == "in_doubt"
    return [
        sa.func.count().label("attempts"),
        sa.func.sum(sa.case((is_unpriced, 1), else_=0)).label("unpriced_calls"),
        sa.func.sum(sa.case((is_in_doubt, 1), else_=0)).label("in_doubt"),
        sa.func.sum(c.prompt_tokens).label("prompt_tokens"),
        sa.func.sum(c.completion_tokens).label("completion_tokens"),
        sa.func.sum(c.cost).label("cost"),
        sa.func.sum(sa.case((is_in_doubt, c.hold), else_=0)).label("in_doubt_cost"),
        sa.func.sum(sa.case((c.outcome != "ok", c.cost), else_=0)).label("failed_cost"),
        sa.func.sum(sa.case((is_reask, c.cost), else_=0)).label("reask_cost"),
        sa.func.sum(sa.case((c.unused, c.cost), else_=0)).label("unused_cost"),
    ]


def _call_sums() -> list[sa.ColumnElement[Any]]:
    c = schema.calls.c
    return [
        sa.func.count().label("calls"),
        sa.func.sum(sa.case((c.cached, 1), else_=0)).label("cached_calls"),
        sa.func.sum(sa.case((c.failure.is_not(None), 1), else_=0)).label("failed_calls"),
        sa.func.sum(c.cache_saved).label("cache_saved"),
    ]
