"""Enumeration of a search space: every valid architecture once, and why points are excluded."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archon_batch.archon import Architecture
from archon_batch.errors import ArchitectureError
from archon_batch.search.architecture_builder import ArchitectureBuilder, LayerStack
from archon_batch.search.axes import Point
from archon_batch.search.space import Space, SpaceLimits

#: Expected tokens and USD per row of an architecture; USD is None without a known price.
RowEstimator = Callable[[Architecture], tuple[int, float | None]]

#: The largest space: enumerating it takes half a minute.
MAX_COMBINATIONS = 500_000


@dataclass(frozen=True, slots=True)
class SpaceEnumeration:
    #: Combinations of the axes.
    combinations: int
    #: Points with a valid, distinct architecture within the limits.
    points: tuple[Point, ...]
    #: Number of excluded points by reason.
    excluded: Mapping[str, int]


def enumerate_space(space: Space, estimate_row: RowEstimator | None = None) -> SpaceEnumeration:
    """Build the architecture of every combination of the axes.

    Args:
        space: with at most ``MAX_COMBINATIONS`` combinations.
        estimate_row: called only if the space limits tokens or USD.

    Raises:
        ArchitectureError: the space has too many combinations.
    """
    builder, points = ArchitectureBuilder(space), []
    excluded: Counter[str] = Counter()
    seen: set[object] = set()
    combinations = 0
    for point in space.search_axes.all_points():
        combinations += 1
        if combinations > MAX_COMBINATIONS:
            many = f"more than {MAX_COMBINATIONS:,} combinations; take fewer values on some axes"
            raise ArchitectureError("", "axes", many)
        try:
            stack = builder.build_layers(point)
        except ArchitectureError as error:
            excluded[error.why] += 1
            continue
        # Equal layers are the same object.
        key = tuple(map(id, stack.layers))
        why: str | None = "duplicate" if key in seen else _exceeds_limits(stack, space.limits)
        if why is None and estimate_row is not None and (space.limits.tokens or space.limits.usd):
            why = _too_expensive(space.limits, *estimate_row(builder.build(point)))
        if why:
            excluded[why] += 1
        else:
            points.append(point)
            seen.add(key)
    return SpaceEnumeration(combinations, tuple(points), dict(excluded.most_common()))


def _exceeds_limits(stack: LayerStack, limits: SpaceLimits) -> str | None:
    first = stack.layers[0]
    if limits.candidates and sum(c.output_count(0).high for c in first) > limits.candidates:
        return f"more than {limits.candidates} candidates"
    if limits.calls and stack.max_calls > limits.calls:
        return f"more than {limits.calls:,} calls per row"
    return None


def _too_expensive(limits: SpaceLimits, tokens: int, usd: float | None) -> str | None:
    if limits.tokens and tokens > limits.tokens:
        return f"more than {limits.tokens:,} tokens per row"
    if limits.usd and usd is None:
        return "a price is unknown, so limits.usd cannot be checked"
    if limits.usd and usd is not None and usd > limits.usd:
        return f"more than ${limits.usd:g} per row"
    return None
