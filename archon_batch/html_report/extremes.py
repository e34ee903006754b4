"""The best and the worst of many rows, found in one pass and little room."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from archon_batch.html_report.agreement import RowAgreement
from archon_batch.store import ItemResult


@dataclass(frozen=True, slots=True)
class RankedRow:
    item: ItemResult
    #: None where there is no score.
    score: float | None
    #: None where nobody has looked.
    agreement: RowAgreement | None

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Low is bad: by score, whether it has an answer, notes, cost, and place.

        Without a score the agreement of its candidates stands in the place of one.
        """
        answered = self.item.status == "answered"
        share = self.agreement.share if self.agreement else None
        by = (answered, share or 0.0) if self.score is None else (self.score, answered)
        return (*by, -len(self.item.warnings), -self.item.usage.cost, self.item.ix)


class ExtremeRows:
    """Keeps so many of the worst rows and as many of the best."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._worst: list[tuple[tuple[float, ...], RankedRow]] = []
        self._best: list[tuple[tuple[float, ...], RankedRow]] = []
        self.row_count = 0

    def add(self, row: RankedRow) -> None:
        self.row_count += 1
        # The top of a heap is what goes first: of the worst the best, and the other way round.
        # No two ranks are alike, since no two rows have one place.
        _push_bounded(self._worst, (tuple(-part for part in row.sort_key), row), 2 * self._limit)
        _push_bounded(self._best, (row.sort_key, row), self._limit)

    @property
    def worst(self) -> Sequence[RankedRow]:
        """The worst first; all rows where they are no more than both lists would hold."""
        ordered = [pick for _, pick in sorted(self._worst, key=lambda kept: kept[0], reverse=True)]
        return ordered if self.all_shown else ordered[: self._limit]

    @property
    def best(self) -> Sequence[RankedRow]:
        """The best first; none where all rows are among the worst."""
        ordered = [pick for _, pick in sorted(self._best, key=lambda kept: kept[0], reverse=True)]
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
