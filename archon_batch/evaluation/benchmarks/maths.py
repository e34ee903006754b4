"""MATH: competition mathematics (Hendrycks et al., arXiv 2103.03874); 5,000 test problems.

MATH-500 is the part of it that Lightman et al. (arXiv 2305.20050) test on.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from archon_batch.archon import boxed
from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records
from archon_batch.evaluation.benchmarks.record import Record

_TASK = """\
Solve the problem step by step. Put the final answer, as simple as it gets, into \\boxed{} at the \
end, and nothing but it."""


class Maths(Benchmark):
    name: ClassVar[str] = "math"
    metric: ClassVar[str | None] = "math"
    title: ClassVar[str] = "MATH"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("problems", ("test/*/*.json", "*/test*.parquet", "test*.parquet", "test.jsonl")),
    )
    by: ClassVar[tuple[str, ...]] = ("subject", "level")

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [_problem(place, record) for place, record in enumerate(records["problems"])]


class Math500(Maths):
    name: ClassVar[str] = "math-500"
    title: ClassVar[str] = "MATH-500"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("problems", ("test.jsonl", "math_splits/test.jsonl", "test*.parquet")),
    )


def _problem(place: int, record: Record) -> Problem:
    answer = record.maybe("answer") or boxed(record.text("solution"))
    if not isinstance(answer, str):
        record.refuse("solution: nothing is in a \\boxed{}, and there is no answer")
    level = str(record.get("level")).removeprefix("Level ")
    subject = record.text("subject", "type")
    return Problem(
        _id(place, record),
        (f"{record.text('problem')}\n\n{_TASK}",),
        answer,
        {"subject": subject, "level": level},
    )


def _id(place: int, record: Record) -> str:
    """The published id; of a problem in a file of its own, the file's name."""
    if record.maybe("unique_id") is not None:
        return record.name("unique_id")
    path = PurePosixPath(record.file)
    return "/".join(path.parts[-2:]) if path.suffix == ".json" else str(place)
