"""Brief: an answer of so many words is worth 1, and less the more it goes beyond them."""

from typing import ClassVar

from archon_batch.evaluation import Metric, Score, unread


class Brief(Metric):
    name: ClassVar[str] = "brief"
    wants: ClassVar[str] = "a whole number of words, from 1"

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        # With a number of its own the rows need none.
        self.needs_reference = most is None

    @classmethod
    def of(cls, argument: str | None = None) -> Metric:
        return cls() if argument is None else cls(cls().prepared(argument))

    def prepared(self, reference: object) -> int:
        if reference is None and self._most is not None:
            return self._most
        if not str(reference).isdecimal() or int(str(reference)) < 1:
            raise ValueError(self.wants)
        return int(str(reference))

    def score(self, answer: str, reference: int) -> Score:
        words = len(answer.split())
        if not words:
            return unread("the answer is empty")
        return Score(min(1.0, reference / words), f"{words} words")
