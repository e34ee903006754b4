"""The interface of metrics, and scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from archon_batch.scores import Score


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A finished row with its score."""

    ix: int
    row_id: str
    #: None for a failed row.
    answer: str | None
    reference: object
    extras: Mapping[str, Any]
    score: Score


class Metric(ABC):
    """Scores an answer against the reference of its row. Must be deterministic."""

    name: ClassVar[str]
    #: The expected reference, as error messages say it: "a number".
    expected_reference: ClassVar[str]
    #: Whether every row needs a reference; without one, ``parse_reference`` gets None.
    needs_reference: bool = True

    @classmethod
    def from_argument(cls, argument: str | None = None) -> "Metric":
        """The metric for ``NAME:ARGUMENT``; None for ``NAME`` alone.

        Raises:
            ValueError: the argument is invalid; says what the metric expects instead.
        """
        if argument is not None:
            raise ValueError("no argument after its name")
        return cls()

    @abstractmethod
    def parse_reference(self, reference: object) -> Any:  # noqa: ANN401  (each metric has its own type)
        """Convert a field's value to the reference that ``score`` takes.

        Raises:
            ValueError: the value is no valid reference; says what the metric expects instead.
        """

    @abstractmethod
    def score(self, answer: str, reference: Any) -> Score:  # noqa: ANN401
        """The score of an answer. An answer that cannot be parsed scores 0 with a reason."""

    def summary(self, rows: Sequence[ScoredRow]) -> Mapping[str, Any]:
        """Figures besides the mean, for the JSON output."""
        del rows
        return {}


def unparsed_score(reason: str) -> Score:
    """The score of an answer without anything to compare: 0, and counted as unparsed."""
    return Score(0.0, unparsed_reason=reason)


def binary_score(extracted: str, *, is_correct: bool) -> Score:
    """1 for a correct answer, else 0."""
    return Score(float(is_correct), extracted)
