"""Evaluation of answers: metrics, judges, benchmarks. Own metrics import what this package exports."""

from archon_batch.evaluation.metric import Metric, ScoredRow, binary_score, unparsed_score
from archon_batch.scores import Score

__all__ = ["Metric", "Score", "ScoredRow", "binary_score", "unparsed_score"]
