"""The metrics, one file a kind; a package registers its own as ``archon_batch.metrics``."""

from archon_batch.scoring.metrics.choice import Choice
from archon_batch.scoring.metrics.code import Code
from archon_batch.scoring.metrics.fields import Fields
from archon_batch.scoring.metrics.label import Label
from archon_batch.scoring.metrics.maths import Maths
from archon_batch.scoring.metrics.number import Number
from archon_batch.scoring.metrics.words import Contains, Exact, Normalized, Pattern
from archon_batch.scoring.score import Metric

METRICS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (Exact, Normalized, Contains, Pattern, Choice, Number, Maths, Label, Fields, Code)
}

__all__ = ["METRICS"]
