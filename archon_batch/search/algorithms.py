"""Search algorithms: which points to try next, given the observations so far.

Each algorithm is a pure function of the points, the observations and a seed, so that a killed
search proposes the same points again.
"""

from collections.abc import Mapping, Sequence

from archon_batch.search.axes import Point, SearchAxes
from archon_batch.search.bayes import propose_bayes
from archon_batch.search.search_state import (
    AlgorithmName,
    Observation,
    Propose,
    SearchState,
    untried_points,
)


def propose_random(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Points in random order, each equally likely."""
    return untried_points(state.shuffled_points(), observations, count)


def propose_in_order(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Points in the order of the space (grid search)."""
    return untried_points(state.points, observations, count)


def propose_greedy(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Hill climbing with random restarts: change one choice as long as the value improves.

    Proposes the neighbours of the best point since the last restart: points that differ from it by
    one choice. Where that choice makes further axes apply, the nearest points come first.
    """
    start = _latest_start(state, observations)
    if start is None:
        return propose_random(state, observations, count)
    best = max(observations[start:], key=lambda one: one.value).point
    neighbours = sorted(
        (point for point in state.points if _differ_by_one_choice(state.axes, best, point)),
        key=lambda point: state.axes.distance_between(best, point),
    )
    return untried_points(neighbours, observations, count) or propose_random(state, observations, 1)


ALGORITHMS: Mapping[AlgorithmName, Propose] = {
    "bayes": propose_bayes,
    "greedy": propose_greedy,
    "random": propose_random,
    "grid": propose_in_order,
}


def _latest_start(state: SearchState, observations: Sequence[Observation]) -> int | None:
    """The index of the latest restart: a point that is no neighbour of any since the one before."""
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
    """Whether the points differ on one axis, not counting axes that apply to only one of them."""
    a, b = one.as_data(), other.as_data()
    shared = [axis.name for axis in axes.axes if axis.name in a and axis.name in b]
    return sum(a[name] != b[name] for name in shared) == 1
