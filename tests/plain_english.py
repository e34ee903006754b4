"""Habits of English that make the text hard to read: ``python -m tests.plain_english``.

Each habit has a plain rewrite: subject first, the actor named, one clause, present tense. The check
reads docstrings, comments, messages, docs, and names of tests (as sentences), and prints every
place it finds.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: The habit, how it is found, and what to write instead.
HABITS = {
    "fronted 'Of X nothing ...'": (
        re.compile(r"\bOf (?!course\b)[^.;:\n]{1,60}\b(?:nothing|nobody|none|no one)\b"),
        "name the actor first",
    ),
    "'whoever' or 'whatever' as a subject": (
        re.compile(r"\b[Ww]hoever\b|\bWhatever\b|\bwhatever (?:is|has|was|it)\b"),
        "name the actor",
    ),
    "'tell of'": (re.compile(r"\b(?:tell|tells|told|telling) of\b"), "report, show, log"),
    "'is to be'": (re.compile(r"\b(?:is|are|was|were) to be\b"), "must, or the present tense"),
    "'which it is'": (re.compile(r"\bwhich (?:it|they) (?:is|are)\b"), "leave it out"),
    "'goes by'": (re.compile(r"\b(?:go|goes|went|gone|going) by\b"), "uses, depends on"),
    "'comes to'": (re.compile(r"\b(?:come|comes|came) to\b"), "reaches, becomes, totals"),
    "'on record'": (re.compile(r"\bon record\b"), "stored, recorded"),
    "'others' without a noun": (
        re.compile(r"\btheirs\b|\b(?:of|by|to|for|from|with|than) (?:others|ones)\b|\bothers'"),
        "repeat the noun",
    ),
    "'as X has it'": (re.compile(r"\bas \w+(?: \w+)? has it\b"), "name the source"),
}

_SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".html", ".lua"}
#: This file quotes the habits.
_EXEMPT = {"tests/plain_english.py"}
_TEST_NAME = re.compile(r"\bdef (test_\w+)")


def files() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in _SUFFIXES and name not in _EXEMPT and path.exists():
            yield path


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, habit and what was found; a test's name is read as a sentence."""
    for number, line in enumerate(text.splitlines(), 1):
        sentence = _TEST_NAME.sub(lambda match: match[1].replace("_", " "), line)
        for habit, (pattern, _) in HABITS.items():
            for match in pattern.finditer(sentence):
                yield number, habit, match[0]


def main() -> int:
    count = 0
    for path in files():
        for number, habit, found in findings(path.read_text(encoding="utf-8")):
            count += 1
            sys.stdout.write(
                f"{path.relative_to(ROOT)}:{number}: {found!r}: {habit}; "
                f"instead: {HABITS[habit][1]}\n"
            )
    sys.stdout.write(f"{count} habits found\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
