"""MBPP: small Python programs by crowd workers (Austin et al., arXiv 2108.07732), executed.

The test problems have ids 11 to 510. The prompt shows their tests, as in the paper.
"""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

_TASK = "Write it in Python, as one fenced code block, so that these tests pass:"
_TEST_IDS = range(11, 511)


class Mbpp(Benchmark):
    name: ClassVar[str] = "mbpp"
    metric_name: ClassVar[str | None] = "code"
    title: ClassVar[str] = "MBPP"
    headline_name: ClassVar[str] = "pass@1, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(
            "problems", ("mbpp.jsonl", "mbpp_test.jsonl", "full/test*.parquet", "test*.parquet")
        ),
    )

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [
            _make_problem(record)
            for record in records["problems"]
            if not record.get_id("task_id").isdigit() or int(record.get_id("task_id")) in _TEST_IDS
        ]


def _make_problem(record: BenchmarkRecord) -> Problem:
    tests = list(record.get_text_list("test_list", "test"))
    shown = "\n".join(test.strip() for test in tests)
    prompt = f"{record.get_text('text', 'prompt')}\n\n{_TASK}\n\n```python\n{shown}\n```"
    setup = record.get_optional("test_setup_code")
    return Problem(
        record.get_id("task_id"),
        (prompt,),
        {"test_list": tests, "test_setup_code": setup if isinstance(setup, str) else ""},
    )
