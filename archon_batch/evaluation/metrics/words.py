"""The answer's words against the reference's."""

import re
from typing import ClassVar

from archon_batch.archon import PatternError, UserPattern, matched, plain, user_pattern
from archon_batch.evaluation.metric import Metric, Score, right, unread


class Exact(Metric):
    """The same characters, but for white space at both ends."""

    name: ClassVar[str] = "exact"
    wants: ClassVar[str] = "a text, a number, or a list of those of which one will do"

    def prepared(self, reference: object) -> tuple[str, ...]:
        return texts(reference, self.wants)

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = answer.strip()
        return right(read, is_right=read in reference)


class Normalized(Exact):
    """The same words: case, spacing, the spelling of accents and marks at the ends are no matter."""

    name: ClassVar[str] = "normalized"

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = plain(answer)
        if read is None:
            return unread("the answer is empty")
        return right(read, is_right=read in {plain(text) for text in reference})


class Contains(Normalized):
    """One of the references stands in the answer, as whole words; compared as ``normalized`` does."""

    name: ClassVar[str] = "contains"

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = plain(answer)
        if read is None:
            return unread("the answer is empty")
        found = next(
            (text for text in map(plain, reference) if text and standing(text).search(read)), None
        )
        return right(found or "", is_right=found is not None)


class Pattern(Metric):
    """The reference is a regular expression, found anywhere in the answer.

    ``regex:PATTERN`` takes the pattern from the command line, and compares what it matches last
    with the reference.
    """

    name: ClassVar[str] = "regex"
    wants: ClassVar[str] = "a regular expression"

    @classmethod
    def of(cls, argument: str | None = None) -> Metric:
        return cls() if argument is None else Matched(compiled(argument, cls.wants))

    def prepared(self, reference: object) -> UserPattern:
        if not isinstance(reference, str):
            raise ValueError(self.wants)  # noqa: TRY004
        return compiled(reference, self.wants)

    def score(self, answer: str, reference: UserPattern) -> Score:
        try:
            found = reference.first(answer)
        except PatternError as error:
            return unread(str(error))
        return right(found or "", is_right=found is not None)


class Matched(Exact):
    """What a pattern matches last, its first group if it has one, compared as ``normalized`` does."""

    name: ClassVar[str] = "regex"

    def __init__(self, pattern: UserPattern) -> None:
        self._pattern = pattern

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        try:
            read = matched(self._pattern, answer)
        except PatternError as error:
            return unread(str(error))
        if read is None:
            return unread("the pattern matches nothing in the answer")
        return right(read, is_right=read in {plain(text) for text in reference})


def compiled(pattern: str, wants: str) -> UserPattern:
    try:
        if pattern:
            return user_pattern(pattern)
    except PatternError as error:
        raise ValueError(f"{wants} ({error})") from None
    raise ValueError(wants)


def texts(reference: object, wants: str) -> tuple[str, ...]:
    """One text or several, of which one will do."""
    several = reference if isinstance(reference, list) else [reference]
    good = [r for r in several if isinstance(r, str | int | float) and not isinstance(r, bool)]
    found = tuple(form for text in good for form in _written(text))
    if len(good) < len(several) or not all(found) or not found:
        raise ValueError(wants)
    return found


def _written(text: str | float) -> tuple[str, ...]:
    """A whole number in a column of decimals is written without them too."""
    if isinstance(text, float) and text.is_integer():
        return str(text), str(int(text))
    return (str(text).strip(),)


def standing(text: str) -> re.Pattern[str]:
    """The text as whole words, and as whole numbers: 1 stands in "1.0", not in "1.5" or "-1"."""
    before = r"(?<![\w\u2212-])(?<!\d[.,])" if text[0].isdigit() else r"(?<!\w)"
    after = r"(?!\w)"
    if text[-1].isdigit():
        zeros = "" if "." in text else r"(?:\.0{1,9})?"
        after = rf"{zeros}(?!\w|[.,]\d)"
    return re.compile(f"{before}{re.escape(text)}{after}")
