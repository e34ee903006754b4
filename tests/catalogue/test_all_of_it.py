"""The catalogue of bad input, and that every entry of it has its test."""

import re
from pathlib import Path

HERE = Path(__file__).parent

CATALOGUE = """\
D1   a dataset that is not there, or no file
D2   no row in it
D3   a byte order mark
D4   not UTF-8
D5   CR LF; CR alone
D6   blank lines
D7   no line end at its end
D8   cut off
D9   JSON that is not JSON Lines
D10  two objects on a line
D11  a row that is no object
D12  almost JSON
D13  numbers that JSON does not have
D14  a key twice
D15  no prompt
D16  a prompt that is no text
D17  a conversation that is none
D18  an id twice
D19  ids that only look different
D20  no id
D21  an id that could not be shown or kept
D22  text that a database refuses
D23  a line without end
D24  numbers without end, and depths
D25  very many rows
D26  a prompt beyond the model's window
D27  keys that mean nothing to us
D28  packed, or another format
D29  a path outside of what a service may read
D30  a file that changes while it is read
D31  a dataset that was submitted before
D32  prompts that speak to a program
A1   no architecture
A2   no YAML
A3   tags
A4   two documents
A5   a key twice
A6   anchors, aliases, merges, bombs
A7   what YAML makes of no, on, dates and 012
A8   temperatures that are none
A9   samples that are none
A10  a key that is misspelt
A11  layers that cannot work
A12  a component that nobody knows
A13  a model or a price that nobody knows
A14  replies without a bound
A15  more calls than anybody means
A16  an address that stands for something else
A17  a key in a file
A18  what other programs would fill in
A19  ways around the providers
A20  templates that cannot be filled, or would run something
A21  too large, too deep
A22  not UTF-8
A23  other files
A24  code to be run
C1   a budget that is none
C2   a budget that pays for no row
C3   widths and counts out of range
C4   an output that could not be written
C5   cells that a spreadsheet would run
C6   a job that is not there, or several
C7   a job in another state
C8   odd terminals, and readers that leave
C9   Ctrl-C
C10  keys that are missing
C11  keys that can be none
C12  no database there, or one that may not be written
C13  a database of another version
C14  a broker out of reach
C15  workers with other prices
C16  addresses and proxies in the environment
C17  run as root
C18  a disk or a limit that is too small
C19  a clock that went back
"""

#: Entries that a test of another folder is about.
ELSEWHERE = {
    "C5": (
        "tests/jobs/test_export.py",
        "test_a_cell_that_looks_like_a_formula_begins_with_an_apostrophe",
    ),
    "C9": (
        "tests/acceptance/test_one_machine.py",
        "test_an_interrupted_run_finishes_its_calls_and_says_how_to_continue",
    ),
    "C18": (
        "tests/acceptance/test_databases.py",
        "test_a_disk_that_fills_up_during_a_run_loses_nothing_and_the_job_continues",
    ),
}
#: Entries that cannot come up, and why.
NEVER = {
    "D29": "a command reads files with the rights of its user",
    "C17": "no code that a model wrote is ever run, so that it does not matter as whom",
}


def test_every_entry_has_its_test() -> None:
    entries = set(re.findall(r"^[DAC]\d+", CATALOGUE, re.MULTILINE))
    others = [path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py")]
    source = "".join(text for text in others if "CATALOGUE" not in text)
    tested = set(re.findall(r'[("\[ ]f?"([DAC]\d+) ', source))
    tested |= {
        number.upper() for number in re.findall(r"^def test_([dac]\d+)_", source, re.MULTILINE)
    }

    assert len(entries) == 75
    assert tested | ELSEWHERE.keys() | NEVER.keys() == entries
    assert not NEVER.keys() & (tested | ELSEWHERE.keys())


def test_what_is_tested_elsewhere_is_there() -> None:
    root = HERE.parent.parent

    for file, name in ELSEWHERE.values():
        assert f"\ndef {name}(" in (root / file).read_text(encoding="utf-8")
