"""MBPP: small Python programs by crowd workers (Austin et al., arXiv 2108.07732), executed.

The test problems are those with ids from 11 to 510; the model is shown their tests, as in the
paper.
"""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records
from archon_batch.evaluation.benchmarks.record import Record

_TASK = "Write it in Python, as one fenced code block, so that these tests pass:"
_TEST = range(11, 511)


class Mbpp(Benchmark):
    name: ClassVar[str] = "mbpp"
    metric: ClassVar[str | None] = "code"
    title: ClassVar[str] = "MBPP"
    figure: ClassVar[str] = "pass@1, %"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("problems", ("mbpp.jsonl", "mbpp_test.jsonl", "full/test*.parquet", "test*.parquet")),
    )

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [
            _problem(record)
            for record in records["problems"]
            if not record.name("task_id").isdigit() or int(record.name("task_id")) in _TEST
        ]


def _problem(record: Record) -> Problem:
    tests = list(record.texts("test_list", "test"))
    shown = "\n".join(test.strip() for test in tests)
    prompt = f"{record.text('text', 'prompt')}\n\n{_TASK}\n\n```python\n{shown}\n```"
    setup = record.maybe("test_setup_code")
    return Problem(
        record.name("task_id"),
        (prompt,),
        {"test_list": tests, "test_setup_code": setup if isinstance(setup, str) else ""},
    )
