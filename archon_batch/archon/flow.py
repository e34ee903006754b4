"""Counts of candidates and calls by layer, computed from the architecture alone.

They agree with table 3 of the paper.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import CountRange

_NONE = CountRange(0, 0)


@dataclass(frozen=True, slots=True)
class LayerFlow:
    """Counts of one layer for one row, if no call fails. Ranges, since some depend on verdicts."""

    candidates_in: CountRange
    candidates_out: CountRange
    #: If every reply can be parsed.
    calls: CountRange
    #: If no reply can be parsed.
    max_calls: int


def layer_flows(architecture: Architecture) -> Iterator[LayerFlow]:
    """The counts of each layer."""
    candidates = _NONE
    for layer in architecture.layers:
        flow = layer_flow(layer, candidates)
        yield flow
        candidates = flow.candidates_out


def layer_flow(layer: Layer, candidates_in: CountRange) -> LayerFlow:
    """The counts of one layer for so many incoming candidates."""
    calls = sum((_range_of(component.call_count, candidates_in) for component in layer), _NONE)
    max_calls = sum(component.max_call_count(candidates_in.high) for component in layer)
    candidates_out = _count_candidates_out(layer, candidates_in)
    return LayerFlow(candidates_in, candidates_out, calls, max_calls)


def count_calls(architecture: Architecture, rows: int = 1) -> CountRange:
    """The calls of so many rows, if no call fails and every reply can be parsed.

    It is a range if a component stops early or returns fewer candidates, depending on verdicts.
    """
    return sum((flow.calls for flow in layer_flows(architecture)), _NONE) * rows


def _count_candidates_out(layer: Layer, candidates_in: CountRange) -> CountRange:
    produced: list[CountRange] = []
    selected: list[CountRange] = []
    for component in layer:
        count = _range_of(component.output_count, candidates_in)
        if "candidates" in component.produces:
            produced.append(count)
        elif component.selects:
            selected.append(count)
    if not produced and not selected:
        return candidates_in
    total = sum(produced, _NONE)
    if not selected:
        return total
    # Two selecting components may keep the same candidates.
    low = max(count.low for count in selected)
    high = min(candidates_in.high, sum(count.high for count in selected))
    return total + CountRange(low, high)


def _range_of(count: Callable[[int], CountRange], candidates: CountRange) -> CountRange:
    return CountRange(count(candidates.low).low, count(candidates.high).high)
