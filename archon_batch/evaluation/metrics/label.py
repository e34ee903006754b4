"""Labels: accuracy, macro F1 and the confusion matrix."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from archon_batch.archon import extract_number, normalize_text
from archon_batch.evaluation.metric import Metric, ScoredRow, binary_score, unparsed_score
from archon_batch.evaluation.metrics.words import whole_word_pattern
from archon_batch.scores import Score

#: The column of the confusion matrix for answers without a label.
NO_LABEL = "(none)"


_NUMBER = re.compile(r"[-+\u2212]?\d{1,30}(?:\.\d{1,30})?")


class LabelMetric(Metric):
    """1 if the answer is, or names, the row's label. The labels are those of all references."""

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
        answer_label = _normalized_label(answer)
        if answer_label in self._labels:
            return binary_score(answer_label, is_correct=answer_label == reference)
        named = [
            label for label, pattern in self._labels.items() if pattern.search(answer_label or "")
        ]
        # "very negative" contains "negative"; the longer label counts.
        most = [a for a in named if not any(a != b and self._labels[a].search(b) for b in named)]
        if len(most) != 1:
            return unparsed_score(
                "the answer names " + (" and ".join(sorted(most)) or "none of the labels")
            )
        return binary_score(most[0], is_correct=most[0] == reference)

    def summary(self, rows: Sequence[ScoredRow]) -> Mapping[str, Any]:
        """Macro F1 over the labels of the references, and the confusion matrix."""
        known = [row for row in rows if row.reference is not None]
        matrix = Counter((row.reference, row.score.extracted or NO_LABEL) for row in known)
        labels = sorted({str(row.reference) for row in known})
        return {
            "macro_f1": sum(_f1(matrix, label) for label in labels) / len(labels)
            if labels
            else None,
            "confusion": {
                label: {
                    answer_label: n
                    for (label_of_row, answer_label), n in sorted(matrix.items())
                    if label_of_row == label
                }
                for label in labels
            },
        }


def _normalized_label(text: str) -> str | None:
    """The label for comparison; 1.0 and 1 are the same, since a column may hold either."""
    answer_label = normalize_text(text)
    return (
        (extract_number(answer_label) or answer_label)
        if answer_label and _NUMBER.fullmatch(answer_label)
        else answer_label
    )


def _f1(matrix: Mapping[tuple[Any, str], int], label: str) -> float:
    both = sum(
        n
        for (label_of_row, answer_label), n in matrix.items()
        if label_of_row == answer_label == label
    )
    either = sum(
        n * ((label_of_row == label) + (answer_label == label))
        for (label_of_row, answer_label), n in matrix.items()
    )
    return 2 * both / either if either else 0.0
