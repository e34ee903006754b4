"""Users' regular expressions, each search of which ends in time: some take years for a long text."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import regex

#: Seconds that one search may take: a thousand times what a sane pattern needs for a long text.
MATCH_TIMEOUT = 2.0
#: Characters of a pattern.
_MAX_PATTERN_LENGTH = 10_000


class PatternError(ValueError):
    """A pattern that cannot be used: it cannot be compiled, or took too long."""


@dataclass(frozen=True, slots=True)
class TimedPattern:
    """A compiled pattern, in the syntax of Python's ``re``."""

    text: str

    def first_match(self, text: str) -> str | None:
        """What it matches first, all of it.

        Raises:
            PatternError: it took longer than ``SECONDS``.
        """
        with _time_limited():
            found = _compile_cached(self.text).search(text, timeout=MATCH_TIMEOUT)
            return str(found.group()) if found else None

    def last_match(self, text: str) -> str | None:
        """What it matches last: its first group if it has one that matched, else all of it.

        Raises:
            PatternError: it took longer than ``SECONDS``.
        """
        pattern = _compile_cached(self.text)
        found: str | None = None
        with _time_limited():
            for match in pattern.finditer(text, timeout=MATCH_TIMEOUT):
                part = match.group(1) if pattern.groups else match.group()
                found = part if part is not None else found
        return found


def compile_pattern(text: str) -> TimedPattern:
    """The pattern, compiled once for all searches.

    Raises:
        PatternError: it is longer than 10,000 characters, or cannot be compiled; it says why.
    """
    if len(text) > _MAX_PATTERN_LENGTH:
        raise PatternError(
            f"{len(text):,} characters, and a pattern may have {_MAX_PATTERN_LENGTH:,}"
        )
    _compile_cached(text)
    return TimedPattern(text)


@lru_cache(maxsize=256)
def _compile_cached(text: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(text)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise PatternError(str(error)) from None


@contextmanager
def _time_limited() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise PatternError(f"the pattern takes longer than {MATCH_TIMEOUT:.0f} s for it") from None
