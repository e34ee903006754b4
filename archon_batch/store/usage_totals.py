"""Accounts: what a job has done and cost, added up from its entries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.database import Database

GroupBy = Literal["layer", "component", "model"]

_GROUP_COLUMNS: Mapping[GroupBy, tuple[str, ...]] = {
    "layer": ("layer",),
    "component": ("layer", "component", "kind", "model"),
    "model": ("model",),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How many items stand where."""

    open: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """What calls came to. Tokens and money count every attempt, also those without an answer."""

    calls: int = 0
    #: Calls whose reply was found among the completions.
    cached_calls: int = 0
    attempts: int = 0
    failed_calls: int = 0
    #: Replies that were billed without a price being known.
    unpriced_calls: int = 0
    #: Attempts that may be on the bill although no answer came.
    in_doubt: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Nano-dollars: settled, possibly billed, paid for attempts that settled no call, paid for
    #: asking again what could not be read, paid for candidates of which nothing is in an answer,
    #: and not paid because the reply was found.
    cost: int = 0
    in_doubt_cost: int = 0
    failed_cost: int = 0
    reask_cost: int = 0
    unused_cost: int = 0
    cache_saved: int = 0

    def __add__(self, other: "UsageTotals") -> "UsageTotals":
        return UsageTotals(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(UsageTotals))
        )


class UsageQueries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, job_id: str) -> Progress:
        table = tables.items
        query = (
            sa.select(table.c.status, sa.func.count())
            .where(table.c.job_id == job_id)
            .group_by(table.c.status)
        )
        with self._database.read_transaction() as connection:
            return Progress(**{row.status: row[1] for row in connection.execute(query)})

    def total(self, job_id: str) -> UsageTotals:
        return sum((account for _, account in self.by_group(job_id, "model")), UsageTotals())

    def by_group(
        self, job_id: str, group_by: GroupBy
    ) -> list[tuple[Mapping[str, Any], UsageTotals]]:
        """The account of each layer, component or model: what names it, and its figures.

        From the running sums, so that it takes no longer for a million entries than for one.
        """
        names, c = _GROUP_COLUMNS[group_by], tables.usage_totals.c
        columns = [c[name] for name in names]
        figures = [
            sa.func.sum(
                c[
                    {
                        "failed_cost": "lost_cost",
                        "reask_cost": "again_cost",
                        "unused_cost": "dropped_cost",
                        "cache_saved": "saved",
                    }.get(f.name, f.name)
                ]
            ).label(f.name)
            for f in fields(UsageTotals)
        ]
        query = (
            sa.select(*columns, *figures)
            .where(c.job_id == job_id)
            .group_by(*columns)
            # What had entries once, and has none now.
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
        """The same, added up from every entry."""
        names = _GROUP_COLUMNS[group_by]
        groups = self.grouped_by(
            names, tables.attempts.c.job_id == job_id, tables.calls.c.job_id == job_id
        )
        return [
            (dict(zip(names, key, strict=True)), account) for key, account in sorted(groups.items())
        ]

    def including_cached(self, job_id: str) -> dict[int, UsageTotals]:
        """The account of each item as if its found replies had been paid for by this job."""
        calls, kept = tables.calls, tables.completions
        groups = self.grouped_by(
            ("ix",), tables.attempts.c.job_id == job_id, tables.calls.c.job_id == job_id
        )
        query = (
            sa.select(
                calls.c.ix,
                sa.func.sum(calls.c.saved).label("cost"),
                sa.func.sum(sa.case((calls.c.saved.is_(None), 1), else_=0)).label("unpriced_calls"),
                sa.func.sum(kept.c.prompt_tokens).label("prompt_tokens"),
                sa.func.sum(kept.c.completion_tokens).label("completion_tokens"),
            )
            .outerjoin(kept, kept.c.fingerprint == calls.c.fingerprint)
            .where(calls.c.job_id == job_id, calls.c.cached)
            .group_by(calls.c.ix)
        )
        full = {ix: account for (ix,), account in groups.items()}
        with self._database.read_transaction() as connection:
            for row in connection.execute(query).mappings():
                found = UsageTotals(**{k: int(v or 0) for k, v in row.items() if k != "ix"})
                full[row["ix"]] += found
        return full

    def warning_counts(self, job_id: str) -> dict[tuple[int, int, str], int]:
        """How often what did not go as asked, by layer, component and kind of note."""
        table = tables.items
        counts: dict[tuple[int, int, str], int] = {}
        query = sa.select(table.c.notes).where(table.c.job_id == job_id, table.c.notes.is_not(None))
        with self._database.read_transaction() as connection:
            for text in connection.scalars(query):
                for note in json.loads(text):
                    key = (note["layer"], note["component"], note["kind"])
                    counts[key] = counts.get(key, 0) + 1
        return counts

    def grouped_by(
        self,
        names: Sequence[str],
        attempt_condition: sa.ColumnElement[bool],
        call_condition: sa.ColumnElement[bool],
    ) -> dict[tuple[Any, ...], UsageTotals]:
        """Accounts by the columns of those names, which calls and attempts both have."""
        attempts, calls = tables.attempts, tables.calls
        groups: dict[tuple[Any, ...], UsageTotals] = {}
        with self._database.read_transaction() as connection:
            for table, sums, condition in (
                (attempts, _attempt_sums(), attempt_condition),
                (calls, _call_sums(), call_condition),
            ):
                columns = [table.c[name] for name in names]
                query = sa.select(*columns, *sums).where(condition).group_by(*columns)
                for row in connection.execute(query).mappings():
                    figures = {k: int(v or 0) for k, v in row.items() if k not in names}
                    key = tuple(row[name] for name in names)
                    groups[key] = groups.get(key, UsageTotals()) + UsageTotals(**figures)
        return groups


def _attempt_sums() -> list[sa.ColumnElement[Any]]:
    c = tables.attempts.c
    billed, lost = c.state == "billed", c.outcome != "ok"
    # The last number of a call's key counts how often its slot was asked before.
    again = ~c.key.endswith(".0")
    return [
        sa.func.count().label("attempts"),
        sa.func.sum(sa.case((sa.and_(billed, c.cost.is_(None)), 1), else_=0)).label(
            "unpriced_calls"
        ),
        sa.func.sum(sa.case((c.state == "in_doubt", 1), else_=0)).label("in_doubt"),
        sa.func.sum(c.prompt_tokens).label("prompt_tokens"),
        sa.func.sum(c.completion_tokens).label("completion_tokens"),
        sa.func.sum(c.cost).label("cost"),
        sa.func.sum(sa.case((c.state == "in_doubt", c.reserve), else_=0)).label("in_doubt_cost"),
        sa.func.sum(sa.case((lost, c.cost), else_=0)).label("failed_cost"),
        sa.func.sum(sa.case((again, c.cost), else_=0)).label("reask_cost"),
        sa.func.sum(sa.case((c.dropped, c.cost), else_=0)).label("unused_cost"),
    ]


def _call_sums() -> list[sa.ColumnElement[Any]]:
    c = tables.calls.c
    return [
        sa.func.count().label("calls"),
        sa.func.sum(sa.case((c.cached, 1), else_=0)).label("cached_calls"),
        sa.func.sum(sa.case((c.failure.is_not(None), 1), else_=0)).label("failed_calls"),
        sa.func.sum(c.saved).label("cache_saved"),
    ]
