"""The layers of an architecture as a table: candidates in and out, and calls of a row."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archon_batch.archon import (
    Architecture,
    Component,
    CountRange,
    ModelComponent,
    count_calls,
    layer_flows,
)

#: Columns of a table that goes into a pipe: there a line is a component.
_PIPE_WIDTH = 200


def print_layers(architecture: Architecture) -> None:
    """A row for each component; what is the layer's own stands in its first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("component", no_wrap=True)
    # The only long words are the models', so they give way.
    table.add_column("model", overflow="fold")
    for column in ("in", "out", "calls"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("with retries", justify="right")
    most = 0
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        of_layer = (str(depth), str(flow.candidates_in), str(flow.candidates_out))
        for component in layer:
            number, arriving, leaving = of_layer
            asked = call_range(component, flow.candidates_in)
            retried = component.max_call_count(flow.candidates_in.high)
            table.add_row(
                number,
                Text(component_label(component)),
                Text(model_label(component)),
                arriving,
                leaving,
                str(asked),
                f"{retried:,}",
            )
            of_layer = ("", "", "")
        most += flow.max_calls
    table.add_row("a row", "", "", "", "", str(count_calls(architecture)), f"{most:,}")
    out = Console(highlight=False)
    (out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)).print(table)


def component_label(component: Component) -> str:
    """What it is, and how many samples it takes: ``generator x5``."""
    samples = getattr(component, "samples", 1)
    return component.type if samples == 1 else f"{component.type} x{samples}"


def model_label(component: Component) -> str:
    """The model that it asks, by the name it uses; nothing when it asks none."""
    model = component.model if isinstance(component, ModelComponent) else ""
    # A line break in a name would be one in the table.
    return model if model.isprintable() else ascii(model)


def call_range(component: Component, candidates_in: CountRange) -> CountRange:
    """The calls of one component for a row, when every reply can be read."""
    return CountRange(
        component.call_count(candidates_in.low).low, component.call_count(candidates_in.high).high
    )
