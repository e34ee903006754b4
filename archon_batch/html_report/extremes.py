"""The best and the worst of many rows, found in one pass and little room."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from archon_batch.html_report.agreement import Said
from archon_batch.store import Ending


@dataclass(frozen=True, slots=True)
class Pick:
    ending: Ending
    #: None where there is no score.
    score: float | None
    #: None where nobody has looked.
    said: Said | None

    @property
    def rank(self) -> tuple[float, ...]:
        """Low is bad: by score, whether it has an answer, notes, cost, and place.

        Without a score the agreement of its candidates stands in the place of one.
        """
        answered = self.ending.status == "answered"
        share = self.said.share if self.said else None
        by = (answered, share or 0.0) if self.score is None else (self.score, answered)
        return (*by, -len(self.ending.notes), -self.ending.account.cost, self.ending.ix)


class Picks:
    """Keeps so many of the worst rows and as many of the best."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._worst: list[tuple[tuple[float, ...], Pick]] = []
        self._best: list[tuple[tuple[float, ...], Pick]] = []
        self.seen = 0

    def add(self, pick: Pick) -> None:
        self.seen += 1
        # The top of a heap is what goes first: of the worst the best, and the other way round.
        # No two ranks are alike, since no two rows have one place.
        _keep(self._worst, (tuple(-part for part in pick.rank), pick), 2 * self._most)
        _keep(self._best, (pick.rank, pick), self._most)

    @property
    def worst(self) -> Sequence[Pick]:
        """The worst first; all rows where they are no more than both lists would hold."""
        ordered = [pick for _, pick in sorted(self._worst, key=lambda kept: kept[0], reverse=True)]
        return ordered if self.all_shown else ordered[: self._most]

    @property
    def best(self) -> Sequence[Pick]:
        """The best first; none where all rows are among the worst."""
        ordered = [pick for _, pick in sorted(self._best, key=lambda kept: kept[0], reverse=True)]
        return [] if self.all_shown else ordered

    @property
    def all_shown(self) -> bool:
        return self.seen <= 2 * self._most


def _keep(
    heap: list[tuple[tuple[float, ...], Pick]],
    entry: tuple[tuple[float, ...], Pick],
    most: int,
) -> None:
    if len(heap) < most:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
