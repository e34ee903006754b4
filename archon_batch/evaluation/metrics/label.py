"""Labels: accuracy, F1 of each class, and which are taken for which."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from archon_batch.archon import extract_number, normalize_text
from archon_batch.evaluation.metric import Metric, Score, ScoredRow, binary_score, unparsed_score
from archon_batch.evaluation.metrics.words import whole_word_pattern

#: What stands for an answer without a label in the confusion matrix.
NO_LABEL = "(none)"


_NUMBER = re.compile(r"[-+\u2212]?\d{1,30}(?:\.\d{1,30})?")


class LabelMetric(Metric):
    """The answer is one of the labels that the references name, or names just one of them."""

    name: ClassVar[str] = "label"
    expected_reference: ClassVar[str] = "a label"

    def __init__(self) -> None:
        self._labels: dict[str, re.Pattern[str]] = {}

    def parse_reference(self, reference: object) -> str:
        label = (
            _normalized_label(str(reference)) if isinstance(reference, str | int | float) else None
        )
        if label is None:
            raise ValueError(self.expected_reference)
        if label not in self._labels:
            self._labels[label] = whole_word_pattern(label)
        return label

    def score(self, answer: str, reference: str) -> Score:
        said = _normalized_label(answer)
        if said in self._labels:
            return binary_score(said, is_correct=said == reference)
        named = [label for label, pattern in self._labels.items() if pattern.search(said or "")]
        # "very negative" names "negative" too, and means the longer.
        most = [a for a in named if not any(a != b and self._labels[a].search(b) for b in named)]
        if len(most) != 1:
            return unparsed_score(
                "the answer names " + (" and ".join(sorted(most)) or "none of the labels")
            )
        return binary_score(most[0], is_correct=most[0] == reference)

    def summary(self, rows: Sequence[ScoredRow]) -> Mapping[str, Any]:
        """Macro F1 over the references' labels, and the matrix by reference and answer."""
        known = [row for row in rows if row.reference is not None]
        matrix = Counter((row.reference, row.score.extracted or NO_LABEL) for row in known)
        labels = sorted({str(row.reference) for row in known})
        return {
            "macro_f1": sum(_f1(matrix, label) for label in labels) / len(labels)
            if labels
            else None,
            "confusion": {
                label: {said: n for (of, said), n in sorted(matrix.items()) if of == label}
                for label in labels
            },
        }


def _normalized_label(text: str) -> str | None:
    """The label as it is compared: 1.0 and 1 are one, as a column of numbers may have either."""
    said = normalize_text(text)
    return (extract_number(said) or said) if said and _NUMBER.fullmatch(said) else said


def _f1(matrix: Mapping[tuple[Any, str], int], label: str) -> float:
    both = sum(n for (of, said), n in matrix.items() if of == said == label)
    either = sum(n * ((of == label) + (said == label)) for (of, said), n in matrix.items())
    return 2 * both / either if either else 0.0
