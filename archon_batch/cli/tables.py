"""Tables, JSON and amounts, on standard output or standard error."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from archon_batch.cli.terminal_page import build_table, echo
from archon_batch.untrusted_text import escape_control, escape_control_json

#: Smaller amounts of USD are shown to the nano-dollar.
_MIN_ROUNDED_USD = 0.01
#: Cells of a right-aligned column: amounts, ranges, and placeholders for a missing amount.
_NUMERIC_CELL = re.compile(r"^(\$?[\d.,-]+( \+ .*)?|unpriced|None|)$")
#: Width of a table in a pipe, where each row must stay on one line.
_PIPE_WIDTH = 200


class _StderrConsole(Console):
    def print(self, *objects: Any, **how: Any) -> None:  # noqa: ANN401
        """Escape control characters: the text may be from a provider, or a file's name."""
        super().print(*(escape_control(o) if isinstance(o, str) else o for o in objects), **how)


#: For messages; standard output is for data.
stderr = _StderrConsole(stderr=True, highlight=False, soft_wrap=True, markup=False)


def preload_rich() -> None:
    """Import what the end of a command needs, before the process runs out of file descriptors."""
    import archon_batch.logs  # noqa: F401, PLC0415

    with stderr.capture():
        stderr.print("", "ready", style="bold")


def print_json(value: object) -> None:
    echo(escape_control_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    err: bool = False,
    no_wrap: Collection[str] = (),
) -> None:
    """Print rows under their columns; columns of numbers are right-aligned."""
    cells = [list(row) for row in rows]
    right = [
        name
        for index, name in enumerate(columns)
        if all(_NUMERIC_CELL.match(str(row[index])) for row in cells)
    ]
    table = build_table(
        columns, [map(_cell_text, row) for row in cells], right=right, no_wrap=no_wrap
    )
    out = Console(stderr=err, highlight=False)
    if not out.is_terminal:
        out = Console(stderr=err, highlight=False, width=_PIPE_WIDTH)
    out.print(table)


def format_usd(usd: float | None, unpriced: int = 0) -> str:
    """USD to a hundredth of a cent, or to the nano-dollar if it is less than a cent."""
    if usd is None:
        return "unpriced"
    text = f"${usd:,.4f}" if usd >= _MIN_ROUNDED_USD else f"${usd:.9f}".rstrip("0").rstrip(".")
    return f"{text} + {unpriced} unpriced" if unpriced else text


def summary_lines(figures: Mapping[str, Any]) -> list[str]:
    """The result of a job in a few lines; the most important line comes first."""
    rows = [f"{figures['answered']} of {figures['rows']} rows answered"]
    rows += [f"{figures[key]} {label}" for key, label in _ROW_COUNTS if figures[key]]
    calls = [f"{figures['calls']} calls"]
    calls += [f"{figures[key]} {label}" for key, label in CALL_COUNTS if figures[key]]
    if figures["attempts_in_doubt"]:
        calls.append(f"{figures['attempts_in_doubt']} attempts in doubt")
    costs = [f"{format_usd(figures['usd'], figures['unpriced_calls'])} paid"]
    costs += cost_parts(figures)
    if figures["budget_usd"] is not None:
        costs.append(f"budget: {format_usd(figures['budget_usd'])}")
    tokens = f"{figures['prompt_tokens']:,} tokens in, {figures['completion_tokens']:,} out"
    overbilling = [
        escape_control(f"{text}: billed more than requested") for text in figures["overbilling"]
    ]
    failed = [figures["all_failed"]] if figures.get("all_failed") else []
    return [*failed, ", ".join(rows), ", ".join(calls), tokens, ", ".join(costs), *overbilling]


def cost_parts(figures: Mapping[str, Any]) -> list[str]:
    """The parts of the cost that are not zero, such as ``re-asks: $0.10``."""
    return [f"{label}: {format_usd(figures[key])}" for key, label in _COSTS if figures[key]]


_ROW_COUNTS = (("failed", "failed"), ("open", "open"), ("cancelled", "cancelled"))
CALL_COUNTS = (("cached_calls", "cached"), ("failed_calls", "failed"))
_COSTS = (
    ("in_doubt_usd", "billing unknown"),
    ("failed_usd", "failed attempts"),
    ("reask_usd", "re-asks"),
    ("unused_usd", "unused candidates"),
    ("cache_saved_usd", "cache savings"),
)


def _cell_text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
