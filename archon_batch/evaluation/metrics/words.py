"""Text comparison: exact, normalized, contained, or by a regular expression."""

import re
from typing import ClassVar

from archon_batch.archon import (
    PatternError,
    TimedPattern,
    compile_pattern,
    extract_match,
    normalize_text,
)
from archon_batch.evaluation.metric import Metric, binary_score, unparsed_score
from archon_batch.scores import Score


class ExactMetric(Metric):
    """1 if the texts are equal except for white space at both ends."""

    name: ClassVar[str] = "exact"
    expected_reference: ClassVar[str] = "a text, a number, or a list of accepted ones"

    def parse_reference(self, reference: object) -> tuple[str, ...]:
        return accepted_texts(reference, self.expected_reference)

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = answer.strip()
        return binary_score(read, is_correct=read in reference)


class NormalizedMetric(ExactMetric):
    """1 if the texts are equal except for case, spacing, accents and punctuation at the ends."""

    name: ClassVar[str] = "normalized"

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = normalize_text(answer)
        if read is None:
            return unparsed_score("the answer is empty")
        return binary_score(read, is_correct=read in {normalize_text(text) for text in reference})


class ContainsMetric(NormalizedMetric):
    """1 if the answer contains a reference as whole words, compared like ``normalized``."""

    name: ClassVar[str] = "contains"

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        read = normalize_text(answer)
        if read is None:
            return unparsed_score("the answer is empty")
        match = next(
            (
                text
                for text in map(normalize_text, reference)
                if text and whole_word_pattern(text).search(read)
            ),
            None,
        )
        return binary_score(match or "", is_correct=match is not None)


class RegexMetric(Metric):
    """1 if the reference, a regular expression, matches anywhere in the answer.

    ``regex:PATTERN`` takes the pattern from the command line and compares its last match with the
    reference.
    """

    name: ClassVar[str] = "regex"
    expected_reference: ClassVar[str] = "a regular expression"

    @classmethod
    def from_argument(cls, argument: str | None = None) -> Metric:
        return (
            cls()
            if argument is None
            else RegexCaptureMetric(compile_user_pattern(argument, cls.expected_reference))
        )

    def parse_reference(self, reference: object) -> TimedPattern:
        if not isinstance(reference, str):
            raise ValueError(self.expected_reference)  # noqa: TRY004
        return compile_user_pattern(reference, self.expected_reference)

    def score(self, answer: str, reference: TimedPattern) -> Score:
        try:
            match = reference.first_match(answer)
        except PatternError as error:
            return unparsed_score(str(error))
        return binary_score(match or "", is_correct=match is not None)


class RegexCaptureMetric(ExactMetric):
    """Compares the last match of a pattern, or its first group, like ``normalized`` does."""

    name: ClassVar[str] = "regex"

    def __init__(self, pattern: TimedPattern) -> None:
        self._pattern = pattern

    def score(self, answer: str, reference: tuple[str, ...]) -> Score:
        try:
            read = extract_match(self._pattern, answer)
        except PatternError as error:
            return unparsed_score(str(error))
        if read is None:
            return unparsed_score("the pattern matches nothing in the answer")
        return binary_score(read, is_correct=read in {normalize_text(text) for text in reference})


def compile_user_pattern(pattern: str, expected: str) -> TimedPattern:
    try:
        if pattern:
            return compile_pattern(pattern)
    except PatternError as error:
        raise ValueError(f"{expected} ({error})") from None
    raise ValueError(expected)


def accepted_texts(reference: object, expected: str) -> tuple[str, ...]:
    """The accepted texts: one or several."""
    several = reference if isinstance(reference, list) else [reference]
    good = [r for r in several if isinstance(r, str | int | float) and not isinstance(r, bool)]
    texts = tuple(form for text in good for form in _spellings(text))
    if len(good) < len(several) or not all(texts) or not texts:
        raise ValueError(expected)
    return texts


def _spellings(text: str | float) -> tuple[str, ...]:
    """A whole number in a column of floats is also accepted without decimals."""
    if isinstance(text, float) and text.is_integer():
        return str(text), str(int(text))
    return (str(text).strip(),)


def whole_word_pattern(text: str) -> re.Pattern[str]:
    """Matches whole words and whole numbers: 1 matches in "1.0", not in "1.5" or "-1"."""
    before = r"(?<![\w\u2212-])(?<!\d[.,])" if text[0].isdigit() else r"(?<!\w)"
    after = r"(?!\w)"
    if text[-1].isdigit():
        zeros = "" if "." in text else r"(?:\.0{1,9})?"
        after = rf"{zeros}(?!\w|[.,]\d)"
    return re.compile(f"{before}{re.escape(text)}{after}")
