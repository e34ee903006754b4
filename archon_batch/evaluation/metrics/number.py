"""The number that an answer comes to, against the reference's."""

from fractions import Fraction
from typing import ClassVar

from archon_batch.archon import number
from archon_batch.evaluation.metric import Metric, Score, right, unread


class Number(Metric):
    r"""Equal as numbers: ``1,000.0`` is ``1000`` and ``1/2`` is ``0.5``.

    A reference may have its number after ``####``, as in GSM8K (Cobbe et al., arXiv 2110.14168).
    """

    name: ClassVar[str] = "number"
    wants: ClassVar[str] = "a number, or a text that ends with one"

    def prepared(self, reference: object) -> Fraction:
        if isinstance(reference, bool) or not isinstance(reference, str | int | float):
            raise ValueError(self.wants)  # noqa: TRY004
        found = number(str(reference).rpartition("####")[2])
        value = _value(found) if found else None
        if value is None:
            raise ValueError(self.wants)
        return value

    def score(self, answer: str, reference: Fraction) -> Score:
        found = number(answer)
        if found is None:
            return unread("there is no number in the answer")
        return right(found, is_right=_value(found) == reference)


def _value(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
