"""What a search algorithm is given: the points of the space and what was observed of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from archon_batch.search.axes import Point, SearchAxes
from archon_batch.search.shared_calls import SharedCalls

AlgorithmName = Literal["bayes", "greedy", "random", "grid"]


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of a trial of one point."""

    point: Point
    #: The objective, to be maximised: the mean score minus lambda times the cost.
    value: float
    #: USD per row; minimised as a second objective when the search wants a Pareto front.
    cost: float | None = None
    #: The share of the dev rows that the trial ran.
    row_share: float = 1.0


@dataclass(frozen=True, slots=True)
class SearchState:
    """The points a search may propose: every valid point once, and their axes."""

    axes: SearchAxes
    points: Sequence[Point]
    seed: int
    #: Whether the search wants the Pareto front of value and cost instead of the highest value.
    pareto: bool = False
    #: Which requests of a point are already paid for; None if the algorithm must ignore it.
    shared_calls: SharedCalls | None = None

    def shuffled_points(self) -> list[Point]:
        """All points in a random order that the seed decides."""
        points = list(self.points)
        seeded_rng(self.seed).shuffle(points)
        return points


#: Returns that many untried points, or fewer if there are no more.
Propose = Callable[[SearchState, Sequence[Observation], int], list[Point]]


def untried_points(
    points: Sequence[Point], observations: Sequence[Observation], count: int
) -> list[Point]:
    """The first ``count`` points without an observation."""
    tried = {observation.point for observation in observations}
    return [point for point in points if point not in tried][:count]


def seeded_rng(*seed: object) -> random.Random:
    """A random generator that any process reproduces from the same seed."""
    return random.Random(repr(seed))  # noqa: S311  (not a secret)
