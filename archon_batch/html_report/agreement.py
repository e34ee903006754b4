"""Agreement of the candidates of a row, extracted like a voter does."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from archon_batch.archon import (
    EXTRACTORS,
    PatternError,
    TimedPattern,
    compile_pattern,
    extract_match,
    strip_reasoning,
)

AnswerReader = Callable[[str], str | None]

#: The extractor that corresponds to a metric.
_EXTRACTOR_BY_METRIC = {"number": "number", "math": "boxed", "choice": "letter"}
#: What each extractor compares, for the page.
_EXTRACTOR_LABELS = {
    "number": "the number of each answer",
    "letter": "the letter of each answer",
    "boxed": "the boxed expression of each answer",
    "text": "whole texts",
}

#: Bands of agreement: the lowest share and the name.
_BAND_LIMITS = (
    (1.0, "all agree"),
    (0.8, "80-99 % agree"),
    (0.6, "60-79 % agree"),
    (0.4, "40-59 % agree"),
    (0.2, "20-39 % agree"),
    (0.0, "under 20 % agree"),
)
_NO_AGREEMENT = "no two agree"
BANDS = (*(name for _, name in _BAND_LIMITS), _NO_AGREEMENT)


@dataclass(frozen=True, slots=True)
class RowAgreement:
    """How far the candidates of one row agree."""

    #: Number of candidates, and size of the largest group with the same value.
    candidates: int
    largest_group: int
    #: By model: number of candidates, and of those with the same value as the row's answer.
    by_model: Mapping[str, tuple[int, int]]

    @property
    def share(self) -> float | None:
        """The share of the largest group; None with fewer than two candidates."""
        return self.largest_group / self.candidates if self.candidates > 1 else None

    @property
    def band(self) -> str:
        if self.largest_group <= 1:
            return _NO_AGREEMENT
        return next(
            name for least, name in _BAND_LIMITS if self.largest_group >= least * self.candidates
        )


def choose_reader(architecture: Mapping[str, Any], metric: str | None) -> tuple[AnswerReader, str]:
    """The extractor for candidates and its description.

    Like the architecture's voter, else like the metric, else whole texts.
    """
    voters = [c for layer in architecture["layers"] for c in layer if c["type"] == "voter"]
    for voter in voters:
        if voter.get("pattern") is not None:
            return partial(
                _match_or_none, compile_pattern(voter["pattern"])
            ), "the match of the voter's pattern"
        if voter.get("extract") in EXTRACTORS:
            return EXTRACTORS[voter["extract"]], _EXTRACTOR_LABELS[voter["extract"]]
    kind = re.match(r"\w*", metric or "")
    name = _EXTRACTOR_BY_METRIC.get(kind.group() if kind else "", "text")
    return EXTRACTORS[name], _EXTRACTOR_LABELS[name]


def row_agreement(
    candidates: Sequence[tuple[str, str]], answer: str | None, read: AnswerReader
) -> RowAgreement:
    """The agreement of candidates, given as pairs of model and text.

    A candidate without an extracted value agrees with none.
    """
    values = [(model, read(strip_reasoning(text) or "")) for model, text in candidates]
    counts = Counter(value for _, value in values if value is not None)
    final = None if answer is None else read(answer)
    models: dict[str, tuple[int, int]] = {}
    for model, value in values:
        count, matching = models.get(model, (0, 0))
        models[model] = count + 1, matching + (value is not None and value == final)
    return RowAgreement(len(values), max(counts.values(), default=min(1, len(values))), models)


def _match_or_none(pattern: TimedPattern, text: str) -> str | None:
    """The match; None if the pattern takes too long, as in the voter."""
    try:
        return extract_match(pattern, text)
    except PatternError:
        return None
