"""What a metric says of an answer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Score:
    #: Mostly from 0 to 1. None is no score at all: nobody guesses one.
    value: float | None
    #: What was compared: the part of the answer that the metric took for its end.
    extracted: str | None = None
    #: Why nothing could be read.
    unparsed_reason: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A row with its score."""

    ix: int
    row_id: str
    #: None for a row that has no answer.
    answer: str | None
    reference: object
    extras: Mapping[str, Any]
    score: Score


class Metric(ABC):
    """Compares an answer with its row's reference. Pure: the same twice is the same score."""

    name: ClassVar[str]
    #: What the reference is to be, in words that an error can use.
    expected_reference: ClassVar[str]
    #: Whether it cannot do without a reference; what can is handed None for one.
    needs_reference: bool = True

    @classmethod
    def from_argument(cls, argument: str | None = None) -> "Metric":
        """The metric, by what stands behind its name and a colon: ``regex:PATTERN``.

        Raises:
            ValueError: that is not what it takes.
        """
        if argument is not None:
            raise ValueError("nothing behind its name")
        return cls()

    @abstractmethod
    def parse_reference(self, reference: object) -> Any:  # noqa: ANN401  (each metric has its own)
        """The reference as ``score`` takes it.

        Raises:
            ValueError: it is not what the metric wants.
        """

    @abstractmethod
    def score(self, answer: str, reference: Any) -> Score:  # noqa: ANN401
        """What the answer is worth. An answer that cannot be read is worth 0, and says why."""

    def summary(self, rows: Sequence[ScoredRow]) -> Mapping[str, Any]:
        """Figures besides the mean."""
        del rows
        return {}


def unparsed_score(reason: str) -> Score:
    """Of an answer in which there is nothing to compare: wrong, and counted apart."""
    return Score(0.0, unparsed_reason=reason)


def binary_score(extracted: str, *, is_correct: bool) -> Score:
    return Score(float(is_correct), extracted)
