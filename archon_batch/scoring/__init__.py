"""Scores of answers: metrics, judges and what they come to. Pure."""

from archon_batch.scoring.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Graded,
    Part,
    Problem,
    Record,
    Records,
    conversation,
    drawn,
    grouped,
)
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
from archon_batch.scoring.statistics import CONFIDENCE, Mean, difference, mean, pass_at_k

__all__ = [
    "BENCHMARKS",
    "CONFIDENCE",
    "METRICS",
    "Benchmark",
    "Case",
    "Games",
    "Graded",
    "Mean",
    "Metric",
    "Part",
    "Problem",
    "Record",
    "Records",
    "Score",
    "Scored",
    "addresses_judge",
    "as_judge",
    "brief",
    "conversation",
    "difference",
    "drawn",
    "grouped",
    "judge_of",
    "mean",
    "pass_at_k",
    "right",
    "unread",
]
