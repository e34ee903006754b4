"""Scores of answers: metrics, judges and what they come to. Pure."""

from archon_batch.evaluation.benchmarks import (
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
from archon_batch.evaluation.judge_prompt import (
    Case,
    Games,
    addresses_judge,
    as_judge,
    brief,
    judge_of,
)
from archon_batch.evaluation.metric import Metric, Score, Scored, right, unread
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.statistics import CONFIDENCE, Mean, difference, mean, pass_at_k

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
