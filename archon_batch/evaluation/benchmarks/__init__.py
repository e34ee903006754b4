"""Benchmarks, one file each: problems from published records, and figures from answers."""

from archon_batch.evaluation.benchmarks.alpaca_eval import AlpacaEval
from archon_batch.evaluation.benchmarks.arena_hard import ArenaHard, ArenaHard2
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
    conversation,
    group_by_field,
    sample_problems,
)
from archon_batch.evaluation.benchmarks.codecontests import CodeContests
from archon_batch.evaluation.benchmarks.gpqa import Gpqa
from archon_batch.evaluation.benchmarks.gsm8k import Gsm8k
from archon_batch.evaluation.benchmarks.humaneval import HumanEval
from archon_batch.evaluation.benchmarks.ifeval import IfEval
from archon_batch.evaluation.benchmarks.maths import Math500, MathBenchmark
from archon_batch.evaluation.benchmarks.mbpp import Mbpp
from archon_batch.evaluation.benchmarks.mixeval import MixEval, MixEvalHard
from archon_batch.evaluation.benchmarks.mmlu import Mmlu
from archon_batch.evaluation.benchmarks.mmlu_pro import MmluPro
from archon_batch.evaluation.benchmarks.mt_bench import MtBench
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

BENCHMARKS: dict[str, type[Benchmark]] = {
    kind.name: kind
    for kind in (
        Gsm8k,
        MathBenchmark,
        Math500,
        Mmlu,
        MmluPro,
        Gpqa,
        IfEval,
        HumanEval,
        Mbpp,
        CodeContests,
        MtBench,
        ArenaHard,
        ArenaHard2,
        AlpacaEval,
        MixEval,
        MixEvalHard,
    )
}

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkRecord",
    "BenchmarkRecords",
    "FileSet",
    "GradedTurn",
    "Problem",
    "conversation",
    "group_by_field",
    "sample_problems",
]
