"""Untrusted text is shown without control characters."""

import io
import json
import logging
import re
import sys

import pytest
import structlog

from archon_batch import logs
from archon_batch.untrusted_text import escape_control, escape_control_json, escape_to_line

#: Characters that reorder text or move a cursor.
OBEYED = [*map(chr, (*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0))), *"\u061c\u200e\u200f\u2028\u2029",
          *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]  # fmt: skip


@pytest.mark.parametrize("letter", OBEYED, ids=ascii)
def test_no_control_character_remains(letter: str) -> None:
    text = f"a{letter}b"

    assert letter not in escape_control(text)
    assert escape_control(text).encode().decode("unicode_escape") == text
    encoded = escape_control_json(json.dumps(text, ensure_ascii=False))
    assert letter not in encoded
    assert json.loads(encoded) == text


def test_one_line_stays_one_line() -> None:
    assert escape_to_line("a\nerror: forged\r\nb\tc") == r"a\nerror: forged\nb" + "\tc"


def test_log_lines_contain_no_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("info", "text")

    structlog.get_logger().warning(
        "job_halted", why="429: \x1b]0;t\x07\u202e\n2026-01-01 [error] forged", many=3
    )
    logging.getLogger("a.library").warning("it text \x1b[2J%s", "\u2066")
    logging.root.handlers.clear()

    text = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue())
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "x1b]0;t" in text
    assert "2026-01-01 [error] forged" in text
    assert text.count("\n") == 2
