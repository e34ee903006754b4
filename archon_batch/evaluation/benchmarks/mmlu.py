"""MMLU: 57 subjects, four options (Hendrycks et al., arXiv 2009.03300); 14,042 test questions."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Part, Problem, Records
from archon_batch.evaluation.benchmarks.choices import LETTERS, asked
from archon_batch.evaluation.benchmarks.record import Record

_COLUMNS = ("question", "A", "B", "C", "D", "answer")


class Mmlu(Benchmark):
    name: ClassVar[str] = "mmlu"
    metric: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MMLU"
    parts: ClassVar[tuple[Part, ...]] = (
        Part(
            "questions",
            ("test/*_test.csv", "all/test*.parquet", "test*.parquet", "test.jsonl"),
            columns=_COLUMNS,
        ),
    )
    by: ClassVar[tuple[str, ...]] = ("subject",)

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [_problem(place, record) for place, record in enumerate(records["questions"])]


def _problem(place: int, record: Record) -> Problem:
    is_csv = "choices" not in record.fields
    options = [record.text(mark) for mark in "ABCD"] if is_csv else record.texts("choices")
    answer = record.get("answer")
    right = LETTERS.find(answer) if isinstance(answer, str) and len(answer) == 1 else answer
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(options):
        record.refuse(f"answer: expected the letter or the place of an option, found {answer!r}")
    subject = (
        PurePosixPath(record.file).name.removesuffix(".csv").removesuffix("_test")
        if is_csv
        else record.text("subject")
    )
    question = f"The subject is {subject.replace('_', ' ')}.\n\n{record.text('question')}"
    try:
        prompt = asked(question, options)
    except ValueError as error:
        record.refuse(f"choices: {error}")
    return Problem(
        f"{subject}/{record.line}" if is_csv else str(place),
        (prompt,),
        LETTERS[right],
        {"subject": subject},
    )
