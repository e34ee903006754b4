"""MT-Bench: 80 conversations of two turns, rated from 1 to 10 (Zheng et al., arXiv 2306.05685).

Each turn is rated by itself; a category that has right answers is rated beside the published
reference. The figure is the mean of all ratings, as FastChat has it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    Graded,
    Part,
    Problem,
    Records,
    conversation,
)
from archon_batch.evaluation.benchmarks.record import Record
from archon_batch.evaluation.judge_prompt import Case

#: Categories that are not judged without a reference.
_KNOWN = ("math", "reasoning", "coding")
_TURNS = 2


class MtBench(Benchmark):
    name: ClassVar[str] = "mt-bench"
    title: ClassVar[str] = "MT-Bench"
    figure: ClassVar[str] = "rating, 1 to 10"
    times: ClassVar[float] = 1.0
    parts: ClassVar[tuple[Part, ...]] = (
        Part("questions", ("question.jsonl", "data/mt_bench/question.jsonl")),
        Part(
            "references", ("reference_answer/gpt-4.jsonl", "reference_answer*.jsonl"), needed=False
        ),
    )
    by: ClassVar[tuple[str, ...]] = ("category",)
    scale: ClassVar[ScaleName | None] = "rating"
    least: ClassVar[float] = 1.0

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        known = {record.name("question_id"): _reference(record) for record in records["references"]}
        return [_problem(record, known) for record in records["questions"]]

    def case(self, problem: Problem, answers: Sequence[str], turn: int) -> Case:
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        known = problem.reference
        return Case(
            messages, answers[turn], reference=None if known is None else _shown(known, turn)
        )

    def figures(
        self, graded: Sequence[Graded], records: Records, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        return {
            f"turn {turn + 1}": _average([g.score.value for g in graded if g.turn == turn])
            for turn in range(_TURNS)
        }


def _problem(record: Record, known: Mapping[str, Sequence[str]]) -> Problem:
    name, category = record.name("question_id"), record.text("category")
    turns = record.texts("turns")
    if category in _KNOWN and len(known.get(name, ())) < len(turns):
        record.refuse(
            f"question_id: no reference answer to {name}, which {category} is judged by; "
            "it is in reference_answer/gpt-4.jsonl"
        )
    return Problem(
        name,
        tuple(turns),
        list(known[name]) if category in _KNOWN else None,
        {"category": category},
    )


def _reference(record: Record) -> Sequence[str]:
    """The turns of the one published answer."""
    first = record.items("choices")[0]
    turns = first.get("turns") if isinstance(first, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        record.refuse("choices: expected one answer with its turns")
    return turns


def _shown(known: Sequence[str], turn: int) -> str:
    """What is right of the turn that is judged, after what was right before."""
    if turn == 0:
        return known[0]
    before = [f"To the request before: {text}" for text in known[:turn]]
    return "\n\n".join((*before, f"To this request: {known[turn]}"))


def _average(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
