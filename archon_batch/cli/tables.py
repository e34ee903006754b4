"""Tables and amounts as people read them, on standard error or out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archon_batch.cli.terminal_page import echo
from archon_batch.untrusted_text import escape_control, escape_control_json

#: USD below which an amount is shown to the nano-dollar.
_MIN_ROUNDED_USD = 0.01
#: What is set to the right: amounts, spans, and what stands for none of it.
_NUMERIC_CELL = re.compile(r"^(\$?[\d.,-]+( \+ .*)?|unpriced|None|)$")
#: Columns of a table that goes into a pipe.
_PIPE_WIDTH = 200


class _StderrConsole(Console):
    def print(self, *objects: Any, **how: Any) -> None:  # noqa: ANN401
        """What is text is made visible first: it may be a provider's, or a file's name."""
        super().print(*(escape_control(o) if isinstance(o, str) else o for o in objects), **how)


#: Beside the data, which is on standard output.
stderr = _StderrConsole(stderr=True, highlight=False, soft_wrap=True, markup=False)


def preload_rich() -> None:
    """Import what rich and the end of a command need, while there are files to open."""
    import archon_batch.logs  # noqa: F401, PLC0415

    with stderr.capture():
        stderr.print("", "ready", style="bold")


def print_json(value: object) -> None:
    echo(escape_control_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, err: bool = False
) -> None:
    """Print rows under their columns; numbers to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    given = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numbers = all(_is_numeric(row[index]) for row in given)
        table.add_column(
            Text(escape_control(column)), justify="right" if numbers else "left", overflow="fold"
        )
    for row in given:
        # What a dataset or a provider wrote is text, never markup.
        table.add_row(*(Text(escape_control(_cell_text(cell))) for cell in row))
    out = Console(stderr=err, highlight=False)
    # Into a pipe a line is a row, however long.
    (out if out.is_terminal else Console(stderr=err, highlight=False, width=_PIPE_WIDTH)).print(
        table
    )


def format_usd(usd: float | None, unpriced: int = 0) -> str:
    """USD to a hundredth of a cent, or to the nano-dollar when there is less of it."""
    if usd is None:
        return "unpriced"
    text = f"${usd:,.4f}" if usd >= _MIN_ROUNDED_USD else f"${usd:.9f}".rstrip("0").rstrip(".")
    return f"{text} + {unpriced} unpriced" if unpriced else text


def summary_lines(figures: Mapping[str, Any]) -> list[str]:
    """The end of a job in a few lines; what nobody would look for comes first."""
    rows = [f"{figures['answered']} of {figures['rows']} rows answered"]
    rows += [f"{figures[k]} {w}" for k, w in _ROW_COUNTS if figures[k]]
    calls = [f"{figures['calls']} calls"]
    calls += [f"{figures[k]} {w}" for k, w in _CALL_COUNTS if figures[k]]
    spent = [f"{format_usd(figures['usd'], figures['unpriced_calls'])} paid"]
    spent += [f"{format_usd(figures[k])} {w}" for k, w in _COSTS if figures[k]]
    if figures["budget_usd"] is not None:
        spent.append(f"of a budget of {format_usd(figures['budget_usd'])}")
    tokens = f"{figures['prompt_tokens']:,} tokens in, {figures['completion_tokens']:,} out"
    told = [
        escape_control(f"{one}: more was billed than asked for") for one in figures["exceeding"]
    ]
    failed = [figures["all_failed"]] if figures.get("all_failed") else []
    return [*failed, ", ".join(rows), ", ".join(calls), tokens, ", ".join(spent), *told]


_ROW_COUNTS = (("failed", "given up"), ("open", "open"), ("cancelled", "cancelled"))
_CALL_COUNTS = (
    ("cached_calls", "found again"),
    ("failed_calls", "failed"),
    ("attempts_in_doubt", "attempts in doubt"),
)
_COSTS = (
    ("in_doubt_usd", "possibly paid"),
    ("lost_usd", "of it for attempts without an answer"),
    ("again_usd", "of it for asking again"),
    ("dropped_usd", "of it for candidates that came to nothing"),
    ("saved_usd", "saved"),
)


def _is_numeric(value: object) -> bool:
    return _NUMERIC_CELL.match(str(value)) is not None


def _cell_text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
