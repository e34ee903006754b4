"""GPQA: science questions that a search does not answer (Rein et al., arXiv 2311.12022).

Its file has the right answer first, so the options are shuffled: by the seed and the question, so
that a part of the file has them in the same places as all of it. Diamond has 198 questions.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records
from archon_batch.evaluation.benchmarks.choices import LETTERS, asked
from archon_batch.evaluation.benchmarks.record import Record

_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class Gpqa(Benchmark):
    name: ClassVar[str] = "gpqa"
    metric: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "GPQA"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("questions", ("gpqa_diamond.csv", "dataset/gpqa_diamond.csv", "gpqa_main.csv")),
    )
    by: ClassVar[tuple[str, ...]] = ("domain",)

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        return [_problem(record, seed) for record in records["questions"]]


def _problem(record: Record, seed: int) -> Problem:
    name = record.name("Record ID")
    right = record.text("Correct Answer")
    options = [right, *(record.text(key) for key in _WRONG)]
    order = list(range(len(options)))
    random.Random(f"{seed} {name}").shuffle(order)  # noqa: S311  (not a secret: the same twice)
    return Problem(
        name,
        (asked(record.text("Question"), [options[place] for place in order]),),
        LETTERS[order.index(0)],
        {"domain": record.text("High-level domain")},
    )
