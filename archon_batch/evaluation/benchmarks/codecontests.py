"""CodeContests: competitive programming (Li et al., arXiv 2203.07814); 165 test problems, executed.

A program is correct if it passes all public, private and generated tests. Problems with images are
left out, as in the Archon paper (arXiv 2409.15254): 140 of the 165 remain.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

_TASK = """\
Solve this programming problem with a Python program that reads standard input and writes standard \
output. Work out an algorithm first that is fast enough for the largest input. Then write the whole \
program in one fenced code block at the end."""

_TESTS = ("public_tests", "private_tests", "generated_tests")
_IMAGE = "<image>"


class CodeContests(Benchmark):
    name: ClassVar[str] = "codecontests"
    metric_name: ClassVar[str | None] = "code"
    title: ClassVar[str] = "CodeContests"
    headline_name: ClassVar[str] = "pass@1, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("problems", ("data/test*.parquet", "test*.parquet", "test.jsonl*")),
    )
    stores_reference: ClassVar[bool] = False

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [
            _make_problem(record)
            for record in records["problems"]
            if _IMAGE not in record.get_text("description")
        ]


def _make_problem(record: BenchmarkRecord) -> Problem:
    tests: dict[str, list[str]] = {"input": [], "output": []}
    for key in _TESTS:
        for side, texts in _inputs_and_outputs(record, key).items():
            tests[side] += texts
    if not tests["input"]:
        record.reject(f"none of {', '.join(_TESTS)} has a test")
    return Problem(record.get_id("name"), (f"{_TASK}\n\n{record.get_text('description')}",), tests)


def _inputs_and_outputs(record: BenchmarkRecord, key: str) -> Mapping[str, list[str]]:
    """The inputs and outputs of a group of tests; the group may be empty or missing."""
    group = record.get_optional(key) or {"input": [], "output": []}
    sides = [group.get(side) for side in ("input", "output")] if isinstance(group, dict) else []
    texts = [
        side for side in sides if isinstance(side, list) and all(isinstance(t, str) for t in side)
    ]
    if len(texts) != 2 or len(texts[0]) != len(texts[1]):  # noqa: PLR2004
        record.reject(f"{key}: expected as many texts under input as under output")
    return dict(zip(("input", "output"), texts, strict=True))
