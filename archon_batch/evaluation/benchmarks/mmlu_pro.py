"""MMLU-Pro: up to ten options (Wang et al., arXiv 2406.01574); 12,032 test questions."""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records
from archon_batch.evaluation.benchmarks.choices import LETTERS, asked
from archon_batch.evaluation.benchmarks.record import Record


class MmluPro(Benchmark):
    name: ClassVar[str] = "mmlu-pro"
    metric: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MMLU-Pro"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("questions", ("data/test*.parquet", "test*.parquet", "test.jsonl", "test*.json")),
    )
    by: ClassVar[tuple[str, ...]] = ("category",)

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [_problem(record) for record in records["questions"]]


def _problem(record: Record) -> Problem:
    # The lists of some editions are filled up to ten.
    options = [option for option in record.texts("options") if option.strip() != "N/A"]
    answer = record.text("answer").strip()
    if len(answer) != 1 or answer not in LETTERS[: len(options)]:
        record.refuse(f"answer: expected the letter of an option, found {answer!r:.60}")
    category = record.text("category")
    question = f"The subject is {category}.\n\n{record.text('question')}"
    try:
        prompt = asked(question, options)
    except ValueError as error:
        record.refuse(f"options: {error}")
    return Problem(record.name("question_id"), (prompt,), answer, {"category": category})
