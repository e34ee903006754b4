"""MMLU-Pro: up to ten options (Wang et al., arXiv 2406.01574); 12,032 test questions."""

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


class MmluPro(Benchmark):
    name: ClassVar[str] = "mmlu-pro"
    metric_name: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MMLU-Pro"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("questions", ("data/test*.parquet", "test*.parquet", "test.jsonl", "test*.json")),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("category",)

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [_make_problem(record) for record in records["questions"]]


def _make_problem(record: BenchmarkRecord) -> Problem:
    # Some editions pad the list to ten options.
    options = [option for option in record.get_text_list("options") if option.strip() != "N/A"]
    answer = record.get_text("answer").strip()
    if len(answer) != 1 or answer not in LETTERS[: len(options)]:
        record.reject(f"answer: expected the letter of an option, found {answer!r:.60}")
    category = record.get_text("category")
    question = f"The subject is {category}.\n\n{record.get_text('question')}"
    try:
        prompt = multiple_choice_prompt(question, options)
    except ValueError as error:
        record.reject(f"options: {error}")
    return Problem(record.get_id("question_id"), (prompt,), answer, {"category": category})
