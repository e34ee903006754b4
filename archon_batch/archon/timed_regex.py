"""Users' regular expressions, each search of which ends in time: some take years for a long text."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import regex

#: Seconds that one search may take: a thousand times what a sane pattern needs for a long text.
SECONDS = 2.0
#: Characters of a pattern.
_LONGEST = 10_000


class PatternError(ValueError):
    """A pattern that cannot be used: it cannot be compiled, or took too long."""


@dataclass(frozen=True, slots=True)
class UserPattern:
    """A compiled pattern, in the syntax of Python's ``re``."""

    text: str

    def first(self, text: str) -> str | None:
        """What it matches first, all of it.

        Raises:
            PatternError: it took longer than ``SECONDS``.
        """
        with _bounded():
            found = _compiled(self.text).search(text, timeout=SECONDS)
            return str(found.group()) if found else None

    def last(self, text: str) -> str | None:
        """What it matches last: its first group if it has one that matched, else all of it.

        Raises:
            PatternError: it took longer than ``SECONDS``.
        """
        pattern = _compiled(self.text)
        found: str | None = None
        with _bounded():
            for match in pattern.finditer(text, timeout=SECONDS):
                part = match.group(1) if pattern.groups else match.group()
                found = part if part is not None else found
        return found


def user_pattern(text: str) -> UserPattern:
    """The pattern, compiled once for all searches.

    Raises:
        PatternError: it is longer than 10,000 characters, or cannot be compiled; it says why.
    """
    if len(text) > _LONGEST:
        raise PatternError(f"{len(text):,} characters, and a pattern may have {_LONGEST:,}")
    _compiled(text)
    return UserPattern(text)


@lru_cache(maxsize=256)
def _compiled(text: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(text)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise PatternError(str(error)) from None


@contextmanager
def _bounded() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise PatternError(f"the pattern takes longer than {SECONDS:.0f} s for it") from None
