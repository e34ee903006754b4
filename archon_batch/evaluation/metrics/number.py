"""The final number of an answer."""

from fractions import Fraction
from typing import ClassVar

from archon_batch.archon import extract_number
from archon_batch.evaluation.metric import Metric, binary_score, unparsed_score
from archon_batch.scores import Score


class NumberMetric(Metric):
    r"""1 if the numbers are equal: ``1,000.0`` and ``1000``, or ``1/2`` and ``0.5``.

    In a reference the number may follow ``####``, as in GSM8K (Cobbe et al., arXiv 2110.14168).
    """

    name: ClassVar[str] = "number"
    expected_reference: ClassVar[str] = "a number, or a text that ends with one"

    def parse_reference(self, reference: object) -> Fraction:
        if isinstance(reference, bool) or not isinstance(reference, str | int | float):
            raise ValueError(self.expected_reference)  # noqa: TRY004
        number = extract_number(str(reference).rpartition("####")[2])
        value = _parse_fraction(number) if number else None
        if value is None:
            raise ValueError(self.expected_reference)
        return value

    def score(self, answer: str, reference: Fraction) -> Score:
        number = extract_number(answer)
        if number is None:
            return unparsed_score("there is no number in the answer")
        return binary_score(number, is_correct=_parse_fraction(number) == reference)


def _parse_fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
