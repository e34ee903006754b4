"""HumanEval: bodies of Python functions (Chen et al., arXiv 2107.03374); 164 problems, executed."""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records

_TASK = """\
Write the whole of this Python function, with its signature and the imports that it needs, in one \
fenced code block. Do what its documentation says, for every input that it allows."""


class HumanEval(Benchmark):
    name: ClassVar[str] = "humaneval"
    metric: ClassVar[str | None] = "code"
    title: ClassVar[str] = "HumanEval"
    figure: ClassVar[str] = "pass@1, %"
    parts: ClassVar[tuple[Part, ...]] = (
        Part(
            "problems",
            ("HumanEval.jsonl", "HumanEval.jsonl.gz", "data/HumanEval.jsonl*", "**/test*.parquet"),
        ),
    )

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [
            Problem(
                record.name("task_id"),
                (f"{_TASK}\n\n```python\n{record.text('prompt').rstrip()}\n```",),
                {key: record.text(key) for key in ("prompt", "entry_point", "test")},
            )
            for record in records["problems"]
        ]
