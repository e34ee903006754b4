"""The built-in metrics by name."""

from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics.choice import ChoiceMetric
from archon_batch.evaluation.metrics.code import CodeMetric
from archon_batch.evaluation.metrics.fields import JsonMetric
from archon_batch.evaluation.metrics.label import LabelMetric
from archon_batch.evaluation.metrics.maths import MathMetric
from archon_batch.evaluation.metrics.number import NumberMetric
from archon_batch.evaluation.metrics.words import (
    ContainsMetric,
    ExactMetric,
    NormalizedMetric,
    RegexMetric,
)

METRICS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (
        ExactMetric,
        NormalizedMetric,
        ContainsMetric,
        RegexMetric,
        ChoiceMetric,
        NumberMetric,
        MathMetric,
        LabelMetric,
        JsonMetric,
        CodeMetric,
    )
}

__all__ = ["METRICS"]
