"""The layers of an architecture as a table: candidates in and out, and calls per row."""

from archon_batch.archon import (
    Architecture,
    Component,
    CountRange,
    ModelComponent,
    count_calls,
    layer_flows,
)
from archon_batch.cli.tables import print_table

_COLUMNS = ("layer", "component", "model", "in", "out", "calls", "with retries")


def print_layers(architecture: Architecture) -> None:
    """Print one line per component; values of the whole layer stand in its first line."""
    rows = []
    max_calls = 0
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        number, arriving, leaving = str(depth), str(flow.candidates_in), str(flow.candidates_out)
        for component in layer:
            calls = call_range(component, flow.candidates_in)
            retried = component.max_call_count(flow.candidates_in.high)
            labels = component_label(component), model_label(component)
            rows.append((number, *labels, arriving, leaving, str(calls), f"{retried:,}"))
            number = arriving = leaving = ""
        max_calls += flow.max_calls
    rows.append(("a row", "", "", "", "", str(count_calls(architecture)), f"{max_calls:,}"))
    # Only models have long names, so only their column may wrap.
    print_table(_COLUMNS, rows, no_wrap=[name for name in _COLUMNS if name != "model"])


def component_label(component: Component) -> str:
    """The type and the number of samples, such as ``generator x5``."""
    samples = getattr(component, "samples", 1)
    return component.type if samples == 1 else f"{component.type} x{samples}"


def model_label(component: Component) -> str:
    """The model's name in the architecture; empty for a component without a model."""
    model = component.model if isinstance(component, ModelComponent) else ""
    # A line break in a name would break the table.
    return model if model.isprintable() else ascii(model)


def call_range(component: Component, candidates_in: CountRange) -> CountRange:
    """The calls of one component per row, without re-asks."""
    return CountRange(
        component.call_count(candidates_in.low).low, component.call_count(candidates_in.high).high
    )
