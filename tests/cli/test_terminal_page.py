"""The page: as wide as the terminal, with models' words on it as text and nothing else."""

import io
import re
import sys

import pytest

from archon_batch.cli.terminal_page import TerminalPage, pluralize
from archon_batch.untrusted_text import escape_control

#: What a model could write to a terminal: a colour, a title, a bell, a return, a line undone.
HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\x08\x7f\x9b2J\u202eback\u2066\0"


@pytest.fixture
def page() -> TerminalPage:
    return TerminalPage()


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.split("\n")[:-1]


def test_control_characters_are_spelt_out() -> None:
    told = escape_control(HOSTILE)

    assert told.isprintable()
    assert told.startswith(r"\x1b[31mred\x1b]0;title\x07\r\x08\x7f\x9b2J")
    assert escape_control("a\tb\r\nc\n") == "a\tb\nc\n"
    assert escape_control("\ud800") == r"\ud800"
    assert escape_control("日本 é שלום \u200d👩") == "日本 é שלום \u200d👩"


@pytest.mark.parametrize("what", ["heading", "line", "block", "paragraph", "table"])
def test_nothing_on_a_page_reaches_the_terminal_raw(
    page: TerminalPage, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (HOSTILE,) if what != "table" else ((HOSTILE, HOSTILE), [(HOSTILE, HOSTILE)])

    getattr(page, what)(*given)

    out = capsys.readouterr().out
    assert r"\x1b[31m" in out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", out)


def test_markup_is_text(page: TerminalPage, capsys: pytest.CaptureFixture[str]) -> None:
    page.line("[bold]a[/bold] [/none] :smile:")

    assert printed(capsys) == ["[bold]a[/bold] [/none] :smile:"]


def test_a_long_line_goes_on_set_in(page: TerminalPage, capsys: pytest.CaptureFixture[str]) -> None:
    page.line("word " * 30, indent=4)

    first, *more = printed(capsys)
    assert first.startswith("    word")
    assert all(line.startswith("      word") for line in more)
    assert max(map(len, [first, *more])) <= 80


def test_a_block_keeps_its_lines_and_wraps_at_words(
    page: TerminalPage, capsys: pytest.CaptureFixture[str]
) -> None:
    page.block("\n  def f():\n\n      return " + "long " * 20 + "\n", indent=6)

    lines = printed(capsys)
    assert lines[:3] == [
        "      |   def f():",
        "      |",
        "      |       return " + "long " * 11 + "long",
    ]
    assert all(line.startswith("      | long") for line in lines[3:])


def test_wide_letters_fit_too(page: TerminalPage, capsys: pytest.CaptureFixture[str]) -> None:
    page.block("日本語" * 40)

    # Each takes two columns.
    assert max(map(len, printed(capsys))) <= len("| ") + 39


@pytest.mark.parametrize(("most", "shown"), [(2, 2), (3, 4), (4, 4), (None, 4)])
def test_a_block_says_how_many_lines_it_leaves_out(
    page: TerminalPage, most: int | None, shown: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page.block("a\nb\nc\nd", max_lines=most)

    lines = printed(capsys)
    assert lines[:shown] == ["| a", "| b", "| c", "| d"][:shown]
    assert lines[shown:] == (["... 2 more lines, --full shows them"] if shown < 4 else [])


def test_the_last_column_gets_the_room_there_is(
    page: TerminalPage, capsys: pytest.CaptureFixture[str]
) -> None:
    page.table(
        ("id", "text"), [("0.0.0", "first\nline " + "word " * 40), ("0.0.1", "short")], indent=2
    )
    page.table(("id", "text"), [("0.0.0", "word " * 20)], wrap_last=True)

    lines = printed(capsys)
    assert [line.rstrip() for line in lines[:3]] == [
        "  id     text",
        "  0.0.0  first line word word word word word word word word word word word word…",
        "  0.0.1  short",
    ]
    assert sum(line.count("word") for line in lines[3:]) == 20
    assert {len(line) for line in lines} == {80}


def test_there_are_eighty_columns_and_no_colours_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    TerminalPage().line(("word " * 30, "bold red"))

    lines = printed(capsys)
    assert 70 < len(lines[0]) <= 80
    assert "\x1b" not in lines[0]


def test_a_terminal_has_its_own_width_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    TerminalPage().line(("word " * 30, "red"))

    lines = screen.getvalue().split("\n")
    assert lines[0].startswith("\x1b[31mword")
    assert len(re.sub(r"\x1b\[\d*m", "", lines[0])) <= 40


def test_things_are_counted_in_words() -> None:
    assert [pluralize(n, "call") for n in (0, 1, 1200)] == ["0 calls", "1 call", "1,200 calls"]
