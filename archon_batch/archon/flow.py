"""How many candidates and calls there are on each layer, worked out from the architecture alone.

The counts are those of the paper's table 3, where no sample is wasted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import CountRange

_NONE = CountRange(0, 0)


@dataclass(frozen=True, slots=True)
class LayerFlow:
    """Of one layer and one row, when no call fails; bounds, since verdicts decide on some."""

    candidates_in: CountRange
    candidates_out: CountRange
    #: When every reply can be read.
    calls: CountRange
    #: When replies cannot be read as often as they are asked for.
    max_calls: int


def layer_flows(architecture: Architecture) -> Iterator[LayerFlow]:
    """The flow of each layer."""
    arriving = _NONE
    for layer in architecture.layers:
        flow = layer_flow(layer, arriving)
        yield flow
        arriving = flow.candidates_out


def layer_flow(layer: Layer, candidates_in: CountRange) -> LayerFlow:
    """The flow of one layer at which so many candidates arrive."""
    leaving = _count_candidates_out(layer, candidates_in)
    calls = _NONE
    for component in layer:
        few, many = (
            component.call_count(candidates_in.low),
            component.call_count(candidates_in.high),
        )
        calls += CountRange(few.low, many.high)
    most = sum(component.max_call_count(candidates_in.high) for component in layer)
    return LayerFlow(candidates_in, leaving, calls, most)


def count_calls(architecture: Architecture, rows: int = 1) -> CountRange:
    """How many calls so many rows make when no call fails and every reply can be read.

    Both bounds are the same unless a component stops early, or leaves more or fewer candidates,
    as verdicts decide.
    """
    return sum((flow.calls for flow in layer_flows(architecture)), _NONE) * rows


def _count_candidates_out(layer: Layer, candidates_in: CountRange) -> CountRange:
    made = _NONE
    chosen: list[CountRange] = []
    makers = 0
    for component in layer:
        few, many = (
            component.output_count(candidates_in.low),
            component.output_count(candidates_in.high),
        )
        left = CountRange(few.low, many.high)
        if "candidates" in component.produces:
            made += left
            makers += 1
        elif component.selects:
            chosen.append(left)
    if not makers and not chosen:
        return candidates_in
    if not chosen:
        return made
    # Two that choose may choose the same, or not.
    kept = CountRange(
        max(c.low for c in chosen), min(candidates_in.high, sum(c.high for c in chosen))
    )
    return made + kept
