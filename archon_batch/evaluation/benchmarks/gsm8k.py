"""GSM8K: grade-school mathematics in words (Cobbe et al., arXiv 2110.14168); 1,319 test problems."""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)

_TASK = """\
Solve the problem step by step. Then end with a line that says "Answer: " and the final number, \
without units."""


class Gsm8k(Benchmark):
    name: ClassVar[str] = "gsm8k"
    metric_name: ClassVar[str | None] = "number"
    title: ClassVar[str] = "GSM8K"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("problems", ("test.jsonl", "main/test*.parquet", "test*.parquet")),
    )

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [
            Problem(
                str(index),
                (f"{record.get_text('question')}\n\n{_TASK}",),
                record.get_text("answer"),
            )
            for index, record in enumerate(records["problems"])
        ]
