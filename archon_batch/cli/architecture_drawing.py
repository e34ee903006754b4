"""An architecture drawn as text: one box per layer, from the question to the answer."""

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from archon_batch.archon import Architecture, Component, CountRange, LayerFlow, layer_flows
from archon_batch.cli.architecture_table import call_range, component_label, model_label

#: Width of the narrowest terminal, and of a box's two borders.
_WIDTH, _BORDER_WIDTH = 80, 4
#: Longer names continue on the next line.
_MAX_NAME_WIDTH, _MIN_MODEL_WIDTH = 30, 12

#: A component in a box: its label, its model, its calls.
_BoxRow = tuple[str, str, str]


def draw_architecture(architecture: Architecture) -> Iterator[str]:
    """The lines of the drawing; none is wider than a terminal."""
    layers = list(zip(architecture.layers, layer_flows(architecture), strict=True))
    boxes = [[_box_row(component, flow) for component in layer] for layer, flow in layers]
    widths = [max(cell_len(row[n]) for rows in boxes for row in rows) for n in range(3)]
    name, calls = min(widths[0], _MAX_NAME_WIDTH), widths[2]
    model = min(widths[1], max(_MIN_MODEL_WIDTH, _WIDTH - _BORDER_WIDTH - name - calls - 4))
    inner = name + model + calls + 4
    yield "question".center(inner + _BORDER_WIDTH).rstrip()
    output = ""
    for depth, (layer, flow) in enumerate(layers):
        yield from _arrow(output, inner)
        yield "┌" + f"─ layer {depth} ".ljust(inner + 2, "─") + "┐"
        for row in boxes[depth]:
            yield from (f"│ {line} │" for line in _box_lines(row, name, model, calls))
        yield "└" + "─" * (inner + 2) + "┘"
        output = _output_label(layer, flow)
    yield from _arrow(output, inner)
    *_, (_, last) = layers
    answer = "answer" if last.candidates_out.high == 1 else "answer: the first"
    yield answer.center(inner + _BORDER_WIDTH).rstrip()


def _box_row(component: Component, flow: LayerFlow) -> _BoxRow:
    calls = _count_text(call_range(component, flow.candidates_in), "call")
    return component_label(component), model_label(component), calls


def _count_text(number: CountRange, noun: str) -> str:
    return f"{number} {noun}" if number == CountRange(1, 1) else f"{number} {noun}s"


def _box_lines(row: _BoxRow, *widths: int) -> Iterator[str]:
    """The row in its columns; cells that are too long continue on the next line."""
    columns = [chop_cells(text, width) or [""] for text, width in zip(row, widths, strict=True)]
    for n in range(max(map(len, columns))):
        name, model, calls = (column[n] if n < len(column) else "" for column in columns)
        left = "  ".join((_padded(name, widths[0]), _padded(model, widths[1])))
        yield f"{left}  {calls.rjust(widths[2])}"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _arrow(label: str, inner: int) -> Iterator[str]:
    before = " " * ((inner + _BORDER_WIDTH - 1) // 2)
    yield f"{before}│ {label}"[:_WIDTH].rstrip()
    yield f"{before}▼"


def _output_label(layer: tuple[Component, ...], flow: LayerFlow) -> str:
    """What the layer passes to the next one."""
    produced = sorted({name for component in layer for name in component.produces} - {"candidates"})
    candidates = [_count_text(flow.candidates_out, "candidate")] if flow.candidates_out.high else []
    return ", ".join((*candidates, *(name.replace("_", " ") for name in produced)))
