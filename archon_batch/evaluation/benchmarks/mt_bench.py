"""MT-Bench: 80 conversations of two turns, rated from 1 to 10 (Zheng et al., arXiv 2306.05685).

The judge rates each turn by itself; categories with correct answers are rated with the published
reference. The figure is the mean of all ratings, as in FastChat.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
    conversation,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.judge_prompt import JudgeCase

#: Categories that the judge rates with a reference.
_REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
_TURNS = 2


class MtBench(Benchmark):
    name: ClassVar[str] = "mt-bench"
    title: ClassVar[str] = "MT-Bench"
    headline_name: ClassVar[str] = "rating, 1 to 10"
    headline_factor: ClassVar[float] = 1.0
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("questions", ("question.jsonl", "data/mt_bench/question.jsonl")),
        FileSet(
            "references",
            ("reference_answer/gpt-4.jsonl", "reference_answer*.jsonl"),
            required=False,
        ),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("category",)
    scale: ClassVar[ScaleName | None] = "rating"
    min_score: ClassVar[float] = 1.0

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        references = {
            record.get_id("question_id"): _reference_turns(record)
            for record in records["references"]
        }
        return [_make_problem(record, references) for record in records["questions"]]

    def judge_case(self, problem: Problem, answers: Sequence[str], turn: int) -> JudgeCase:
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        references = problem.reference
        return JudgeCase(
            messages,
            answers[turn],
            reference=None if references is None else _reference_up_to_turn(references, turn),
        )

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        return {
            f"turn {turn + 1}": _average(
                [graded.score.value for graded in turns if graded.turn == turn]
            )
            for turn in range(_TURNS)
        }


def _make_problem(record: BenchmarkRecord, references: Mapping[str, Sequence[str]]) -> Problem:
    name, category = record.get_id("question_id"), record.get_text("category")
    turns = record.get_text_list("turns")
    if category in _REFERENCE_CATEGORIES and len(references.get(name, ())) < len(turns):
        record.reject(
            f"question_id: no reference answer for {name}, which {category} needs; "
            "it is in reference_answer/gpt-4.jsonl"
        )
    return Problem(
        name,
        tuple(turns),
        list(references[name]) if category in _REFERENCE_CATEGORIES else None,
        {"category": category},
    )


def _reference_turns(record: BenchmarkRecord) -> Sequence[str]:
    """The turns of the published answer."""
    first = record.get_list("choices")[0]
    turns = first.get("turns") if isinstance(first, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        record.reject("choices: expected one answer with its turns")
    return turns


def _reference_up_to_turn(references: Sequence[str], turn: int) -> str:
    """The references of the earlier turns and of this one."""
    if turn == 0:
        return references[0]
    before = [f"To the request before: {text}" for text in references[:turn]]
    return "\n\n".join((*before, f"To this request: {references[turn]}"))


def _average(values: Sequence[float | None]) -> float | None:
    parsed = [value for value in values if value is not None]
    return sum(parsed) / len(parsed) if parsed else None
