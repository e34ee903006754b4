"""Algorithms: which points are tried next, worked out from those that were.

Each is a pure function of the space's points, what came of those tried before and a seed, so that
a search that was killed asks for the same again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from archon_batch.search.axes import Point, SearchAxes
from archon_batch.search.shared_calls import SharedCalls

AlgorithmName = Literal["bayes", "greedy", "random", "grid"]


@dataclass(frozen=True, slots=True)
class Observation:
    """A point that was tried."""

    point: Point
    #: What is to be high: the score, less what it costs by lambda.
    value: float
    #: USD a row, which is to be low besides, where a whole Pareto front is looked for.
    cost: float | None = None
    #: The share of the dev rows that were looked at.
    row_share: float = 1.0


@dataclass(frozen=True, slots=True)
class SearchState:
    """Where is looked: every valid point, once, and the axes they lie on."""

    axes: SearchAxes
    points: Sequence[Point]
    seed: int
    #: Whether the front of value and cost is looked for, and not the highest value.
    pareto: bool = False
    #: Which of their requests are paid for already; None where that is not looked at.
    shared_calls: SharedCalls | None = None


#: So many points that were not tried, fewer where there are no more.
Propose = Callable[[SearchState, Sequence[Observation], int], list[Point]]


def propose_random(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Points in an order that the seed decides, each as likely as any other."""
    points = list(state.points)
    seeded_rng(state.seed).shuffle(points)
    return _untried(points, observations, count)


def propose_in_order(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Points one after the other."""
    return _untried(state.points, observations, count)


def propose_greedy(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """One axis at a time from a point of the dice's, as long as it helps; then from another.

    The next points are the neighbours of the best since the last start that differ from it by one
    choice; what other axes apply after it is as near as it can be.
    """
    start = _latest_start(state, observations)
    if start is None:
        return propose_random(state, observations, count)
    since = observations[start:]
    best = max(since, key=lambda one: one.value).point
    neighbours = sorted(
        (point for point in state.points if _differ_by_one_choice(state.axes, best, point)),
        key=lambda point: state.axes.distance_between(best, point),
    )
    found = _untried(neighbours, observations, count)
    if found:
        return found
    return propose_random(state, observations, 1)


def _latest_start(state: SearchState, observations: Sequence[Observation]) -> int | None:
    """Where the latest start stands among those tried: a point that is no neighbour of a better."""
    if not observations:
        return None
    start, best = 0, observations[0]
    for index, one in enumerate(observations[1:], 1):
        if not _differ_by_one_choice(state.axes, best.point, one.point) and not any(
            _differ_by_one_choice(state.axes, before.point, one.point)
            for before in observations[start:index]
        ):
            start, best = index, one
        elif one.value > best.value:
            best = one
    return start


def _differ_by_one_choice(axes: SearchAxes, one: Point, other: Point) -> bool:
    """Whether the points differ by one choice, and by what it makes apply."""
    ours, theirs = one.as_data(), other.as_data()
    both = [axis.name for axis in axes.axes if axis.name in ours and axis.name in theirs]
    return sum(ours[name] != theirs[name] for name in both) == 1


def _untried(
    points: Sequence[Point], observations: Sequence[Observation], count: int
) -> list[Point]:
    known = {one.point for one in observations}
    found: list[Point] = []
    for point in points:
        if len(found) == count:
            break
        if point not in known:
            found.append(point)
    return found


def seeded_rng(*seed: object) -> random.Random:
    """Dice that fall the same again."""
    return random.Random(repr(seed))  # noqa: S311  (not a secret)
