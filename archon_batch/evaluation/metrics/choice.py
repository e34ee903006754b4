"""The letter of a multiple-choice answer."""

from typing import ClassVar

from archon_batch.archon import extract_letter
from archon_batch.evaluation.metric import Metric, binary_score, unparsed_score
from archon_batch.scores import Score

_LETTERS = "ABCDEFGHIJ"


class ChoiceMetric(Metric):
    """Compares the letter that the answer chooses, A to J, with the reference.

    A whole number as reference is the index of the correct option, from 0, as in MMLU (Hendrycks et
    al., arXiv 2009.03300).
    """

    name: ClassVar[str] = "choice"
    expected_reference: ClassVar[str] = "a letter from A to J, or the index of the option from 0"

    def parse_reference(self, reference: object) -> str:
        if isinstance(reference, float) and reference.is_integer():
            # A column of numbers with a gap holds floats.
            reference = int(reference)
        if isinstance(reference, int) and not isinstance(reference, bool):
            reference = _LETTERS[reference] if 0 <= reference < len(_LETTERS) else ""
        bare = reference.strip(" ().:").upper() if isinstance(reference, str) else ""
        if len(bare) != 1 or bare not in _LETTERS:
            raise ValueError(self.expected_reference)
        return bare

    def score(self, answer: str, reference: str) -> Score:
        letter = extract_letter(answer)
        if letter is None:
            return unparsed_score("the answer chooses no letter")
        return binary_score(letter, is_correct=letter == reference)
