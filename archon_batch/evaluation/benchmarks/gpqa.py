"""GPQA: science questions that a web search does not answer (Rein et al., arXiv 2311.12022).

The file lists the correct answer first, so the options are shuffled, by the seed and the question
id: a subset of the file gets the same order as the whole. Diamond has 198 questions.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)
from archon_batch.evaluation.benchmarks.choices import LETTERS, multiple_choice_prompt
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class Gpqa(Benchmark):
    name: ClassVar[str] = "gpqa"
    metric_name: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "GPQA"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("questions", ("gpqa_diamond.csv", "dataset/gpqa_diamond.csv", "gpqa_main.csv")),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("domain",)

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        return [_make_problem(record, seed) for record in records["questions"]]


def _make_problem(record: BenchmarkRecord, seed: int) -> Problem:
    name = record.get_id("Record ID")
    right = record.get_text("Correct Answer")
    options = [right, *(record.get_text(key) for key in _WRONG)]
    order = list(range(len(options)))
    random.Random(f"{seed} {name}").shuffle(order)  # noqa: S311  (not a secret)
    return Problem(
        name,
        (multiple_choice_prompt(record.get_text("Question"), [options[index] for index in order]),),
        LETTERS[order.index(0)],
        {"domain": record.get_text("High-level domain")},
    )
