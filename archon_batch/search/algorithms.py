"""Algorithms: which points are tried next, worked out from those that were.

Each is a pure function of the space's points, what came of those tried before and a seed, so that
a search that was killed asks for the same again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from archon_batch.search.axes import Axes, Point
from archon_batch.search.shared_calls import Shared

Name = Literal["bayes", "greedy", "random", "grid"]


@dataclass(frozen=True, slots=True)
class Tried:
    """A point that was tried."""

    point: Point
    #: What is to be high: the score, less what it costs by lambda.
    value: float
    #: USD a row, which is to be low besides, where a whole Pareto front is looked for.
    cost: float | None = None
    #: The share of the dev rows that were looked at.
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Ground:
    """Where is looked: every valid point, once, and the axes they lie on."""

    axes: Axes
    points: Sequence[Point]
    seed: int
    #: Whether the front of value and cost is looked for, and not the highest value.
    pareto: bool = False
    #: Which of their requests are paid for already; None where that is not looked at.
    shared: Shared | None = None


#: So many points that were not tried, fewer where there are no more.
Propose = Callable[[Ground, Sequence[Tried], int], list[Point]]


def at_random(ground: Ground, tried: Sequence[Tried], count: int) -> list[Point]:
    """Points in an order that the seed decides, each as likely as any other."""
    points = list(ground.points)
    dice(ground.seed).shuffle(points)
    return _untried(points, tried, count)


def in_order(ground: Ground, tried: Sequence[Tried], count: int) -> list[Point]:
    """Points one after the other."""
    return _untried(ground.points, tried, count)


def greedily(ground: Ground, tried: Sequence[Tried], count: int) -> list[Point]:
    """One axis at a time from a point of the dice's, as long as it helps; then from another.

    The next points are the neighbours of the best since the last start that differ from it by one
    choice; what other axes apply after it is as near as it can be.
    """
    start = _starts(ground, tried)
    if start is None:
        return at_random(ground, tried, count)
    since = tried[start:]
    best = max(since, key=lambda one: one.value).point
    neighbours = sorted(
        (point for point in ground.points if _by_one_choice(ground.axes, best, point)),
        key=lambda point: ground.axes.apart(best, point),
    )
    found = _untried(neighbours, tried, count)
    if found:
        return found
    return at_random(ground, tried, 1)


def _starts(ground: Ground, tried: Sequence[Tried]) -> int | None:
    """Where the latest start stands among those tried: a point that is no neighbour of a better."""
    if not tried:
        return None
    start, best = 0, tried[0]
    for index, one in enumerate(tried[1:], 1):
        if not _by_one_choice(ground.axes, best.point, one.point) and not any(
            _by_one_choice(ground.axes, before.point, one.point) for before in tried[start:index]
        ):
            start, best = index, one
        elif one.value > best.value:
            best = one
    return start


def _by_one_choice(axes: Axes, one: Point, other: Point) -> bool:
    """Whether the points differ by one choice, and by what it makes apply."""
    ours, theirs = one.as_data(), other.as_data()
    both = [axis.name for axis in axes.axes if axis.name in ours and axis.name in theirs]
    return sum(ours[name] != theirs[name] for name in both) == 1


def _untried(points: Sequence[Point], tried: Sequence[Tried], count: int) -> list[Point]:
    known = {one.point for one in tried}
    found: list[Point] = []
    for point in points:
        if len(found) == count:
            break
        if point not in known:
            found.append(point)
    return found


def dice(*seed: object) -> random.Random:
    """Dice that fall the same again."""
    return random.Random(repr(seed))  # noqa: S311  (not a secret)
