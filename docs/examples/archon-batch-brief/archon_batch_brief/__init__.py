"""Brief: an answer within the word limit scores 1, a longer one less."""

from typing import ClassVar

from archon_batch.evaluation import Metric, Score, unparsed_score


class Brief(Metric):
    name: ClassVar[str] = "brief"
    expected_reference: ClassVar[str] = "a whole number of words, from 1"

    def __init__(self, max_words: int | None = None) -> None:
        self._max_words = max_words
        # With a limit of its own the rows need no reference.
        self.needs_reference = max_words is None

    @classmethod
    def from_argument(cls, argument: str | None = None) -> Metric:
        return cls() if argument is None else cls(cls().parse_reference(argument))

    def parse_reference(self, reference: object) -> int:
        if reference is None and self._max_words is not None:
            return self._max_words
        if not str(reference).isdecimal() or int(str(reference)) < 1:
            raise ValueError(self.expected_reference)
        return int(str(reference))

    def score(self, answer: str, reference: int) -> Score:
        words = len(answer.split())
        if not words:
            return unparsed_score("the answer is empty")
        return Score(min(1.0, reference / words), f"{words} words")
