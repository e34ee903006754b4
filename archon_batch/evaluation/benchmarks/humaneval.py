"""HumanEval: bodies of Python functions (Chen et al., arXiv 2107.03374); 164 problems, executed."""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)

_TASK = """\
Write the whole of this Python function, with its signature and the imports that it needs, in one \
fenced code block. Do what its documentation says, for every input that it allows."""


class HumanEval(Benchmark):
    name: ClassVar[str] = "humaneval"
    metric_name: ClassVar[str | None] = "code"
    title: ClassVar[str] = "HumanEval"
    headline_name: ClassVar[str] = "pass@1, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(
            "problems",
            ("HumanEval.jsonl", "HumanEval.jsonl.gz", "data/HumanEval.jsonl*", "**/test*.parquet"),
        ),
    )

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [
            Problem(
                record.get_id("task_id"),
                (f"{_TASK}\n\n```python\n{record.get_text('prompt').rstrip()}\n```",),
                {key: record.get_text(key) for key in ("prompt", "entry_point", "test")},
            )
            for record in records["problems"]
        ]
