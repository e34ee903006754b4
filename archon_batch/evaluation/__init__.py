"""Scores of answers: metrics, judges and what they come to. Pure."""

from archon_batch.evaluation.benchmarks import (
    BENCHMARKS,
    Benchmark,
    BenchmarkRecord,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
    conversation,
    group_by_field,
    sample_problems,
)
from archon_batch.evaluation.judge_prompt import (
    JudgeCase,
    PairwiseResult,
    addresses_judge,
    judge_from_architecture,
    judge_from_model,
    render_judge_prompt,
)
from archon_batch.evaluation.metric import Metric, Score, ScoredRow, binary_score, unparsed_score
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.statistics import (
    CONFIDENCE,
    MeanEstimate,
    bootstrap_mean,
    paired_difference,
    pass_at_k,
)

__all__ = [
    "BENCHMARKS",
    "CONFIDENCE",
    "METRICS",
    "Benchmark",
    "BenchmarkRecord",
    "BenchmarkRecords",
    "FileSet",
    "GradedTurn",
    "JudgeCase",
    "MeanEstimate",
    "Metric",
    "PairwiseResult",
    "Problem",
    "Score",
    "ScoredRow",
    "addresses_judge",
    "binary_score",
    "bootstrap_mean",
    "conversation",
    "group_by_field",
    "judge_from_architecture",
    "judge_from_model",
    "paired_difference",
    "pass_at_k",
    "render_judge_prompt",
    "sample_problems",
    "unparsed_score",
]
