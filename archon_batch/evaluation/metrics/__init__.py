"""The metrics, one file a kind; a package registers its own as ``archon_batch.metrics``."""

from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics.choice import Choice
from archon_batch.evaluation.metrics.code import Code
from archon_batch.evaluation.metrics.fields import Fields
from archon_batch.evaluation.metrics.label import Label
from archon_batch.evaluation.metrics.maths import Maths
from archon_batch.evaluation.metrics.number import Number
from archon_batch.evaluation.metrics.words import Contains, Exact, Normalized, Pattern

METRICS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (Exact, Normalized, Contains, Pattern, Choice, Number, Maths, Label, Fields, Code)
}

__all__ = ["METRICS"]
