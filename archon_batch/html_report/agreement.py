"""Whether the candidates of a row say the same, read as a voter would read them."""

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

#: What a metric compares, as a voter would read it.
_EXTRACTOR_BY_METRIC = {"number": "number", "math": "boxed", "choice": "letter"}
#: How it is told what was compared.
_EXTRACTOR_LABELS = {
    "number": "the number that each gives as its answer",
    "letter": "the letter that each chooses",
    "boxed": "what each puts in a box",
    "text": "their whole texts, word for word",
}

#: Bands of shares, the lowest of each and its name.
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
    """What the candidates of one row said."""

    #: Candidates, and those of them that say what most of them say.
    candidates: int
    largest_group: int
    #: By model: candidates, and those of them that say what the row's answer says.
    by_model: Mapping[str, tuple[int, int]]

    @property
    def share(self) -> float | None:
        """How many of all candidates agree; None of fewer than two."""
        return self.largest_group / self.candidates if self.candidates > 1 else None

    @property
    def band(self) -> str:
        if self.largest_group <= 1:
            return _NO_AGREEMENT
        return next(
            name for least, name in _BAND_LIMITS if self.largest_group >= least * self.candidates
        )


def choose_reader(architecture: Mapping[str, Any], metric: str | None) -> tuple[AnswerReader, str]:
    """How candidates are read, and that in words.

    As the architecture's voter does it, else as the metric does, else word for word.
    """
    voters = [c for layer in architecture["layers"] for c in layer if c["type"] == "voter"]
    for voter in voters:
        if voter.get("pattern") is not None:
            return partial(
                _match_or_none, compile_pattern(voter["pattern"])
            ), "what the voter's pattern finds"
        if voter.get("extract") in EXTRACTORS:
            return EXTRACTORS[voter["extract"]], _EXTRACTOR_LABELS[voter["extract"]]
    kind = re.match(r"\w*", metric or "")
    name = _EXTRACTOR_BY_METRIC.get(kind.group() if kind else "", "text")
    return EXTRACTORS[name], _EXTRACTOR_LABELS[name]


def row_agreement(
    candidates: Sequence[tuple[str, str]], answer: str | None, read: AnswerReader
) -> RowAgreement:
    """What the candidates said, each as its model and its text.

    One that cannot be read agrees with no other.
    """
    readings = [(model, read(strip_reasoning(text) or "")) for model, text in candidates]
    counts = Counter(reading for _, reading in readings if reading is not None)
    final = None if answer is None else read(answer)
    models: dict[str, tuple[int, int]] = {}
    for model, reading in readings:
        made, alike = models.get(model, (0, 0))
        models[model] = made + 1, alike + (reading is not None and reading == final)
    return RowAgreement(len(readings), max(counts.values(), default=min(1, len(readings))), models)


def _match_or_none(pattern: TimedPattern, text: str) -> str | None:
    """As the voter does: a pattern that takes too long finds nothing."""
    try:
        return extract_match(pattern, text)
    except PatternError:
        return None
