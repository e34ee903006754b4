"""Scores of answers: metrics and what they come to. Pure."""

from archon_batch.scoring.metrics import METRICS
from archon_batch.scoring.score import Metric, Score, Scored, right, unread
from archon_batch.scoring.statistics import CONFIDENCE, Mean, difference, mean, pass_at_k

__all__ = [
    "CONFIDENCE",
    "METRICS",
    "Mean",
    "Metric",
    "Score",
    "Scored",
    "difference",
    "mean",
    "pass_at_k",
    "right",
    "unread",
]
