"""A page of text as wide as the terminal, on which models' words stand as text and nothing else."""

from collections.abc import Iterable, Sequence
from typing import Literal

import click
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from archon_batch.untrusted_text import escape_control

#: Columns where there is no terminal.
_WIDTH = 80

#: Words, or words with a style of rich's.
StyledText = str | tuple[str, str]


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print the text of whomever: a terminal shows all of it, and obeys none."""
    click.echo(escape_control(text), err=err, nl=nl)  # noqa: TID251  (here it is)


def pluralize(count: int, noun: str) -> str:
    """So many of it, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class TerminalPage:
    """Whatever it is given is made visible first."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self._console = console if console.is_terminal else Console(highlight=False, width=_WIDTH)

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(_styled((text, "bold")), align="left", style="dim"))

    def line(self, *parts: StyledText, indent: int = 0) -> None:
        """A line, and where it is too long more lines below it, set in by two."""
        lines = self._wrap(_styled(*parts), indent + 2)
        for number, line in enumerate(lines):
            self._print(line, indent + 2 * (number > 0))

    def block(self, text: str, *, indent: int = 0, max_lines: int | None = None) -> None:
        """A text of many lines; those beyond ``max_lines`` are counted instead of shown."""
        lines = self._wrap(_styled(text.strip("\r\n")), indent + 2)
        shown = lines if max_lines is None or len(lines) <= max_lines + 1 else lines[:max_lines]
        for line in shown:
            self._print(Text.assemble(("| ", "dim"), line), indent)
        if len(shown) < len(lines):
            more = f"... {len(lines) - len(shown):,} more lines, --full shows them"
            self._print(_styled((more, "dim")), indent)

    def paragraph(self, text: str) -> None:
        """A text in full, with nothing beside it."""
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
        """The last column gets what room there is, and ends in dots unless it is shown whole."""
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        *others, last = columns
        for column in others:
            table.add_column(_styled(column), no_wrap=True)
        overflow: Literal["fold", "ellipsis"] = "fold" if wrap_last else "ellipsis"
        table.add_column(_styled(last), no_wrap=not wrap_last, overflow=overflow, ratio=1)
        for row in rows:
            table.add_row(*(_styled(" ".join(cell.split())) for cell in row))
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
    pairs = ((word, "") if isinstance(word, str) else word for word in parts)
    return Text.assemble(*((escape_control(text), style) for text, style in pairs))
