"""MixEval: questions of many benchmarks, as users ask them (Ni et al., arXiv 2406.06565).

It has two parts: multiple choice, scored by our metric ``choice`` (the published program asks a model
for the letter), and free form, graded by a judge from 0.0 to 1.0. The figure is the mean of the parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
)
from archon_batch.evaluation.benchmarks.choices import LETTERS, multiple_choice_prompt
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.judge_prompt import JudgeCase
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean

_TASK = "Answer the question in a few words, after as much thought as it takes."
_FREE, _CHOICE = "free-form", "multiple-choice"


class MixEval(Benchmark):
    name: ClassVar[str] = "mixeval"
    metric_name: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MixEval"
    headline_name: ClassVar[str] = "score, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(_FREE, ("mixeval/free-form.json", "free-form.json")),
        FileSet(_CHOICE, ("mixeval/multiple-choice.json", "multiple-choice.json")),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("part", "benchmark")
    scale: ClassVar[ScaleName | None] = "grade"

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        free = [
            _make_free_form_problem(index, record) for index, record in enumerate(records[_FREE])
        ]
        return free + [
            _make_choice_problem(index, record) for index, record in enumerate(records[_CHOICE])
        ]

    def needs_judge(self, problem: Problem) -> bool:
        return problem.groups["part"] == _FREE

    def judge_case(self, problem: Problem, answers: Sequence[str], turn: int) -> JudgeCase:
        answers_text = "\n".join(f"- {text}" for text in problem.reference)
        reference = (
            f"Any one of these:\n{answers_text}"
            if len(problem.reference) > 1
            else problem.reference[0]
        )
        return replace(super().judge_case(problem, answers, turn), reference=reference)

    def headline(self, turns: Sequence[GradedTurn], seed: int) -> MeanEstimate | None:
        parts = [
            mean
            for part in (_FREE, _CHOICE)
            if (
                mean := bootstrap_mean(
                    [
                        g.score.value
                        for g in turns
                        if g.problem.groups["part"] == part and g.score.value is not None
                    ],
                    seed,
                )
            )
        ]
        if not parts:
            return None
        # The parts are independent samples, so the squares of their half-widths add up.
        middle = fmean(part.value for part in parts)
        down = sum((part.value - part.low) ** 2 for part in parts) ** 0.5 / len(parts)
        up = sum((part.high - part.value) ** 2 for part in parts) ** 0.5 / len(parts)
        return MeanEstimate(middle, middle - down, middle + up, sum(part.n for part in parts))


class MixEvalHard(MixEval):
    name: ClassVar[str] = "mixeval-hard"
    title: ClassVar[str] = "MixEval-Hard"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(_FREE, ("mixeval-hard/free-form.json", "free-form.json")),
        FileSet(_CHOICE, ("mixeval-hard/multiple-choice.json", "multiple-choice.json")),
    )


def _make_free_form_problem(index: int, record: BenchmarkRecord) -> Problem:
    context = record.get_optional("context")
    parts = [str(context).strip()] if context else []
    prompt = "\n\n".join((*parts, record.get_text("prompt").strip(), _TASK))
    # Two people may have given the same answer.
    answers = list(dict.fromkeys(record.get_text_list("target")))
    return Problem(f"{_FREE}/{index}", (prompt,), answers, _groups(record, _FREE))


def _make_choice_problem(index: int, record: BenchmarkRecord) -> Problem:
    options, target = record.get_text_list("options"), record.get_list("target")
    right = target[0]
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(options):
        record.reject(f"target: expected the index of an option, found {target!r:.60}")
    context = record.get_optional("context")
    try:
        prompt = multiple_choice_prompt(
            record.get_text("prompt"), options, str(context) if context else None
        )
    except ValueError as error:
        record.reject(f"options: {error}")
    return Problem(f"{_CHOICE}/{index}", (prompt,), LETTERS[right], _groups(record, _CHOICE))


def _groups(record: BenchmarkRecord, part: str) -> Mapping[str, str]:
    return {"part": part, "benchmark": record.get_text("benchmark_name")}
