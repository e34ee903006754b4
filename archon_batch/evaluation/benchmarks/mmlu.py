"""MMLU: 57 subjects, four options (Hendrycks et al., arXiv 2009.03300); 14,042 test questions."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    Problem,
)
from archon_batch.evaluation.benchmarks.choices import LETTERS, multiple_choice_prompt
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

_COLUMNS = ("question", "A", "B", "C", "D", "answer")


class Mmlu(Benchmark):
    name: ClassVar[str] = "mmlu"
    metric_name: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MMLU"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(
            "questions",
            ("test/*_test.csv", "all/test*.parquet", "test*.parquet", "test.jsonl"),
            columns=_COLUMNS,
        ),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("subject",)

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        return [_make_problem(index, record) for index, record in enumerate(records["questions"])]


def _make_problem(index: int, record: BenchmarkRecord) -> Problem:
    is_csv = "choices" not in record.fields
    options = (
        [record.get_text(letter) for letter in "ABCD"]
        if is_csv
        else record.get_text_list("choices")
    )
    answer = record.get_required("answer")
    right = LETTERS.find(answer) if isinstance(answer, str) and len(answer) == 1 else answer
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(options):
        record.reject(f"answer: expected the letter or the index of an option, found {answer!r}")
    subject = (
        PurePosixPath(record.file).name.removesuffix(".csv").removesuffix("_test")
        if is_csv
        else record.get_text("subject")
    )
    question = f"The subject is {subject.replace('_', ' ')}.\n\n{record.get_text('question')}"
    try:
        prompt = multiple_choice_prompt(question, options)
    except ValueError as error:
        record.reject(f"choices: {error}")
    return Problem(
        f"{subject}/{record.line}" if is_csv else str(index),
        (prompt,),
        LETTERS[right],
        {"subject": subject},
    )
