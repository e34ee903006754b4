"""The census of a space: every architecture in it that is valid, once, and why others are not."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archon_batch.archon import Architecture
from archon_batch.errors import ArchitectureError
from archon_batch.search.architecture_builder import ArchitectureBuilder, LayerStack
from archon_batch.search.axes import Point
from archon_batch.search.space import Space, SpaceLimits

#: What a row of an architecture takes as a rule: tokens, and USD or None where no price is known.
RowEstimator = Callable[[Architecture], tuple[int, float | None]]

#: Combinations that are looked at one by one: half a minute's worth.
MAX_COMBINATIONS = 500_000


@dataclass(frozen=True, slots=True)
class SpaceEnumeration:
    #: Combinations of the axes.
    combinations: int
    #: Those that are an architecture of their own, within the limits.
    points: tuple[Point, ...]
    #: How many of the others are left out, by the reason.
    excluded: Mapping[str, int]


def enumerate_space(space: Space, estimate_row: RowEstimator | None = None) -> SpaceEnumeration:
    """Look at every combination of the axes.

    Args:
        space: of which at most ``MOST`` combinations.
        estimate_row: asked only where the space has a limit of tokens or USD.

    Raises:
        ArchitectureError: there are too many combinations.
    """
    builder, points = ArchitectureBuilder(space), []
    left_out: Counter[str] = Counter()
    seen: set[object] = set()
    combinations = 0
    for point in space.search_axes.all_points():
        combinations += 1
        if combinations > MAX_COMBINATIONS:
            many = f"more than {MAX_COMBINATIONS:,} combinations; take fewer values on some axes"
            raise ArchitectureError("", "axes", many)
        try:
            draft = builder.build_layers(point)
        except ArchitectureError as error:
            left_out[error.why] += 1
            continue
        # Alike layers are the same object, and not two equal ones.
        key = tuple(map(id, draft.layers))
        why: str | None = (
            "alike to another" if key in seen else _exceeds_limits(draft, space.limits)
        )
        if why is None and estimate_row is not None and (space.limits.tokens or space.limits.usd):
            why = _too_expensive(space.limits, *estimate_row(builder.build(point)))
        if why:
            left_out[why] += 1
        else:
            points.append(point)
            seen.add(key)
    return SpaceEnumeration(combinations, tuple(points), dict(left_out.most_common()))


def _exceeds_limits(draft: LayerStack, limits: SpaceLimits) -> str | None:
    first = draft.layers[0]
    if limits.candidates and sum(c.output_count(0).high for c in first) > limits.candidates:
        return f"more than {limits.candidates} candidates"
    if limits.calls and draft.max_calls > limits.calls:
        return f"more than {limits.calls:,} calls a row"
    return None


def _too_expensive(limits: SpaceLimits, tokens: int, usd: float | None) -> str | None:
    if limits.tokens and tokens > limits.tokens:
        return f"more than {limits.tokens:,} tokens a row"
    if limits.usd and usd is None:
        return "a price is not known, and there is a limit of USD"
    if limits.usd and usd is not None and usd > limits.usd:
        return f"more than ${limits.usd:g} a row"
    return None
