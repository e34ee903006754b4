"""Terminal output in which control characters of untrusted text are escaped."""

from collections.abc import Collection, Iterable, Sequence

import click
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from archon_batch.untrusted_text import escape_control

#: Width where there is no terminal.
_WIDTH = 80

#: Text, or text with a style of rich.
StyledText = str | tuple[str, str]


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print untrusted text: the terminal shows its control characters and obeys none."""
    click.echo(escape_control(text), err=err, nl=nl)  # noqa: TID251  (the one place)


def pluralize(count: int, noun: str) -> str:
    """The count with its noun, such as ``1 row`` or ``2 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def build_table(
    columns: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    right: Collection[str] = (),
    no_wrap: Collection[str] = (),
    header_style: str = "bold",
) -> Table:
    """A table without lines; cells that are too long continue on the next line.

    Args:
        columns: the headings.
        rows: the cells, which may be untrusted text.
        right: the columns that are right-aligned.
        no_wrap: the columns whose cells stay on one line.
        header_style: a style of rich.
    """
    table = Table(box=None, pad_edge=False, header_style=header_style)
    for name in columns:
        table.add_column(
            _styled(name),
            justify="right" if name in right else "left",
            no_wrap=name in no_wrap,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_styled(cell) for cell in row))
    return table


class TerminalPage:
    """Prints headings, texts and tables in the width of the terminal."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self._console = console if console.is_terminal else Console(highlight=False, width=_WIDTH)

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(_styled((text, "bold")), align="left", style="dim"))

    def line(self, *parts: StyledText, indent: int = 0) -> None:
        """One line; a line that is too long continues below it, two columns further in."""
        lines = self._wrap(_styled(*parts), indent + 2)
        for number, line in enumerate(lines):
            self._print(line, indent + 2 * (number > 0))

    def block(self, text: str, *, indent: int = 0, max_lines: int | None = None) -> None:
        """A text of several lines; lines beyond ``max_lines`` are counted, not shown."""
        lines = self._wrap(_styled(text.strip("\r\n")), indent + 2)
        shown = lines if max_lines is None or len(lines) <= max_lines + 1 else lines[:max_lines]
        for line in shown:
            self._print(Text.assemble(("| ", "dim"), line), indent)
        if len(shown) < len(lines):
            more = f"... {len(lines) - len(shown):,} more lines, --full shows them"
            self._print(_styled((more, "dim")), indent)

    def paragraph(self, text: str) -> None:
        """A text in full length, without decoration."""
        for line in self._wrap(_styled(text), 0):
            self._print(line, 0)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        indent: int = 0,
        wrap_last: bool = False,
    ) -> None:
        """A table whose last column takes the remaining width and is cut off, or wrapped."""
        *first, _ = columns
        cells = [[" ".join(cell.split()) for cell in row] for row in rows]
        no_wrap = first if wrap_last else columns
        table = build_table(columns, cells, no_wrap=no_wrap, header_style="dim")
        table.expand = True
        table.columns[-1].ratio = 1
        table.columns[-1].overflow = "fold" if wrap_last else "ellipsis"
        self._console.print(Padding(table, (0, 0, 0, indent)))

    def blank_line(self) -> None:
        self._console.print()

    def _wrap(self, text: Text, margin: int) -> Sequence[Text]:
        width = max(1, self._console.width - margin)
        return list(text.wrap(self._console, width, overflow="fold"))

    def _print(self, line: Text, indent: int) -> None:
        line.rstrip()
        self._console.print(Text.assemble(" " * indent, line), soft_wrap=True)


def _styled(*parts: StyledText) -> Text:
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((escape_control(text), style) for text, style in pairs))
