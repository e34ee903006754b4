"""How many candidates and calls there are on each layer, worked out from the architecture alone.

The counts are those of the paper's table 3, where no sample is wasted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Bounds

_NONE = Bounds(0, 0)


@dataclass(frozen=True, slots=True)
class Flow:
    """Of one layer and one row, when no call fails; bounds, since verdicts decide on some."""

    arriving: Bounds
    leaving: Bounds
    #: When every reply can be read.
    calls: Bounds
    #: When replies cannot be read as often as they are asked for.
    most: int


def flows(architecture: Architecture) -> Iterator[Flow]:
    """The flow of each layer."""
    arriving = _NONE
    for layer in architecture.layers:
        flow = flow_of(layer, arriving)
        yield flow
        arriving = flow.leaving


def flow_of(layer: Layer, arriving: Bounds) -> Flow:
    """The flow of one layer at which so many candidates arrive."""
    leaving = _leaving(layer, arriving)
    calls = _NONE
    for component in layer:
        few, many = component.calls(arriving.low), component.calls(arriving.high)
        calls += Bounds(few.low, many.high)
    most = sum(component.most_calls(arriving.high) for component in layer)
    return Flow(arriving, leaving, calls, most)


def calls(architecture: Architecture, rows: int = 1) -> Bounds:
    """How many calls so many rows make when no call fails and every reply can be read.

    Both bounds are the same unless a component stops early, or leaves more or fewer candidates,
    as verdicts decide.
    """
    return sum((flow.calls for flow in flows(architecture)), _NONE) * rows


def _leaving(layer: Layer, arriving: Bounds) -> Bounds:
    made = _NONE
    chosen: list[Bounds] = []
    makers = 0
    for component in layer:
        few, many = component.leaves(arriving.low), component.leaves(arriving.high)
        left = Bounds(few.low, many.high)
        if "candidates" in component.makes:
            made += left
            makers += 1
        elif component.chooses:
            chosen.append(left)
    if not makers and not chosen:
        return arriving
    if not chosen:
        return made
    # Two that choose may choose the same, or not.
    kept = Bounds(max(c.low for c in chosen), min(arriving.high, sum(c.high for c in chosen)))
    return made + kept
