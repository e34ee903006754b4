"""MATH: competition mathematics (Hendrycks et al., arXiv 2103.03874); 5,000 test problems.

MATH-500 is the subset that Lightman et al. (arXiv 2305.20050) test on.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from archon_batch.archon import extract_boxed
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

_TASK = """\
Solve the problem step by step. Put the final answer, as simple as it gets, into \\boxed{} at the \
end, and nothing but it."""


class MathBenchmark(Benchmark):
    name: ClassVar[str] = "math"
    metric_name: ClassVar[str | None] = "math"
    title: ClassVar[str] = "MATH"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("problems", ("test/*/*.json", "*/test*.parquet", "test*.parquet", "test.jsonl")),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("subject", "level")

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [_make_problem(index, record) for index, record in enumerate(records["problems"])]


class Math500(MathBenchmark):
    name: ClassVar[str] = "math-500"
    title: ClassVar[str] = "MATH-500"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("problems", ("test.jsonl", "math_splits/test.jsonl", "test*.parquet")),
    )


def _make_problem(index: int, record: BenchmarkRecord) -> Problem:
    answer = record.get_optional("answer") or extract_boxed(record.get_text("solution"))
    if not isinstance(answer, str):
        record.reject("solution: no \\boxed{} in it, and no field answer")
    level = str(record.get_required("level")).removeprefix("Level ")
    subject = record.get_text("subject", "type")
    return Problem(
        _problem_id(index, record),
        (f"{record.get_text('problem')}\n\n{_TASK}",),
        answer,
        {"subject": subject, "level": level},
    )


def _problem_id(index: int, record: BenchmarkRecord) -> str:
    """The published id, else the name of the problem's own file, else its position."""
    if record.get_optional("unique_id") is not None:
        return record.get_id("unique_id")
    path = PurePosixPath(record.file)
    return "/".join(path.parts[-2:]) if path.suffix == ".json" else str(index)
