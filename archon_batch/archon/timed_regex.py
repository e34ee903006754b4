"""Regular expressions of users, with a time limit: some would take years for a long text."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import regex

#: Seconds of one search: a thousand times what a normal pattern needs for a long text.
MATCH_TIMEOUT = 2.0
#: In characters.
_MAX_PATTERN_LENGTH = 10_000


class PatternError(ValueError):
    """A pattern cannot be compiled, or a search with it took too long."""


@dataclass(frozen=True, slots=True)
class TimedPattern:
    """A compiled pattern in the syntax of Python's ``re``."""

    text: str

    def first_match(self, text: str) -> str | None:
        """The first match.

        Raises:
            PatternError: the search took longer than ``MATCH_TIMEOUT``.
        """
        with _time_limited():
            found = _compile_cached(self.text).search(text, timeout=MATCH_TIMEOUT)
            return str(found.group()) if found else None

    def last_match(self, text: str) -> str | None:
        """The last match: its first group if the pattern has groups, otherwise all of it.

        Raises:
            PatternError: the search took longer than ``MATCH_TIMEOUT``.
        """
        pattern = _compile_cached(self.text)
        found: str | None = None
        with _time_limited():
            for match in pattern.finditer(text, timeout=MATCH_TIMEOUT):
                part = match.group(1) if pattern.groups else match.group()
                found = part if part is not None else found
        return found


def compile_pattern(text: str) -> TimedPattern:
    """Compile the pattern.

    Raises:
        PatternError: the pattern is longer than 10,000 characters, or cannot be compiled.
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
