"""An architecture as a drawing in text: a box for each layer, from the question to the answer."""

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from archon_batch.archon import Architecture, Bounds, Component, Flow, flows
from archon_batch.cli.architecture_table import calls_of, model_of, named

#: Columns that every terminal has, and those of them that a box's sides take.
_WIDTH, _SIDES = 80, 4
#: Columns of a component's name, and at least of its model's; more goes on below.
_NAME, _MODEL = 30, 12

#: What stands in a box for one component: what it is, its model, its calls.
_Row = tuple[str, str, str]


def graph(architecture: Architecture) -> Iterator[str]:
    """The lines of the drawing, none of them wider than a terminal."""
    layers = list(zip(architecture.layers, flows(architecture), strict=True))
    boxes = [[_row(component, flow) for component in layer] for layer, flow in layers]
    widths = [max(cell_len(row[n]) for rows in boxes for row in rows) for n in range(3)]
    name, calls = min(widths[0], _NAME), widths[2]
    model = min(widths[1], max(_MODEL, _WIDTH - _SIDES - name - calls - 4))
    inner = name + model + calls + 4
    yield "question".center(inner + _SIDES).rstrip()
    handed_on = ""
    for depth, (layer, flow) in enumerate(layers):
        yield from _arrow(handed_on, inner)
        yield "┌" + f"─ layer {depth} ".ljust(inner + 2, "─") + "┐"
        for row in boxes[depth]:
            yield from (f"│ {line} │" for line in _lines(row, name, model, calls))
        yield "└" + "─" * (inner + 2) + "┘"
        handed_on = _handed_on(layer, flow)
    yield from _arrow(handed_on, inner)
    *_, (_, last) = layers
    answer = "answer" if last.leaving.high == 1 else "answer: the first"
    yield answer.center(inner + _SIDES).rstrip()


def _row(component: Component, flow: Flow) -> _Row:
    calls = _counted(calls_of(component, flow.arriving), "call")
    return named(component), model_of(component), calls


def _counted(number: Bounds, noun: str) -> str:
    return f"{number} {noun}" if number == Bounds(1, 1) else f"{number} {noun}s"


def _lines(row: _Row, *widths: int) -> Iterator[str]:
    """The row in its columns; what is longer than its column goes on below."""
    columns = [chop_cells(text, width) or [""] for text, width in zip(row, widths, strict=True)]
    for n in range(max(map(len, columns))):
        name, model, calls = (column[n] if n < len(column) else "" for column in columns)
        left = "  ".join((_padded(name, widths[0]), _padded(model, widths[1])))
        yield f"{left}  {calls.rjust(widths[2])}"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _arrow(beside: str, inner: int) -> Iterator[str]:
    before = " " * ((inner + _SIDES - 1) // 2)
    yield f"{before}│ {beside}"[:_WIDTH].rstrip()
    yield f"{before}▼"


def _handed_on(layer: tuple[Component, ...], flow: Flow) -> str:
    """What the layer hands to the next one."""
    made = sorted({made for component in layer for made in component.makes} - {"candidates"})
    candidates = [_counted(flow.leaving, "candidate")] if flow.leaving.high else []
    return ", ".join((*candidates, *(name.replace("_", " ") for name in made)))
