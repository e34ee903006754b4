"""The best and the worst of many rows, in one pass and constant memory."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from archon_batch.html_report.agreement import RowAgreement
from archon_batch.store import ItemResult


@dataclass(frozen=True, slots=True)
class RankedRow:
    item: ItemResult
    #: None without a score.
    score: float | None
    #: None if the candidates were not compared.
    agreement: RowAgreement | None

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Sort key, worst first: score, answered, warnings, cost, position.

        Without a score the agreement of the candidates replaces it.
        """
        answered = self.item.status == "answered"
        share = self.agreement.share if self.agreement else None
        by = (answered, share or 0.0) if self.score is None else (self.score, answered)
        return (*by, -len(self.item.warnings), -self.item.usage.cost, self.item.ix)


class ExtremeRows:
    """The worst rows and the best rows, ``limit`` of each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._worst: list[tuple[tuple[float, ...], RankedRow]] = []
        self._best: list[tuple[tuple[float, ...], RankedRow]] = []
        self.row_count = 0

    def add(self, row: RankedRow) -> None:
        self.row_count += 1
        # Each heap drops its top: the best of the worst rows, the worst of the best rows.
        # Sort keys are distinct, since positions are.
        _push_bounded(self._worst, (tuple(-part for part in row.sort_key), row), 2 * self._limit)
        _push_bounded(self._best, (row.sort_key, row), self._limit)

    @property
    def worst(self) -> Sequence[RankedRow]:
        """Worst first; all rows if both lists together can hold them."""
        ordered = [
            pick for _, pick in sorted(self._worst, key=lambda entry: entry[0], reverse=True)
        ]
        return ordered if self.all_shown else ordered[: self._limit]

    @property
    def best(self) -> Sequence[RankedRow]:
        """Best first; empty if the worst rows are all rows."""
        ordered = [pick for _, pick in sorted(self._best, key=lambda entry: entry[0], reverse=True)]
        return [] if self.all_shown else ordered

    @property
    def all_shown(self) -> bool:
        return self.row_count <= 2 * self._limit


def _push_bounded(
    heap: list[tuple[tuple[float, ...], RankedRow]],
    entry: tuple[tuple[float, ...], RankedRow],
    limit: int,
) -> None:
    if len(heap) < limit:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
