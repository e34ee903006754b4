"""Scores of answers: metrics, judges and what they come to. Pure."""

from archon_batch.scoring.judge import (
    Case,
    Games,
    addresses_judge,
    as_judge,
    brief,
    judge_of,
)
from archon_batch.scoring.metrics import METRICS
from archon_batch.scoring.score import Metric, Score, Scored, right, unread
from archon_batch.scoring.statistics import CONFIDENCE, Mean, difference, mean

__all__ = [
    "CONFIDENCE",
    "METRICS",
    "Case",
    "Games",
    "Mean",
    "Metric",
    "Score",
    "Scored",
    "addresses_judge",
    "as_judge",
    "brief",
    "difference",
    "judge_of",
    "mean",
    "right",
    "unread",
]
