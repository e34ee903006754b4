"""MixEval: questions of many benchmarks, as users ask them (Ni et al., arXiv 2406.06565).

Two parts: multiple choice, read by our ``choice`` where theirs asks a model for the letter; and free
form, graded by a judge from 0.0 to 1.0. The figure is the mean of the two parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Graded, Part, Problem, Records
from archon_batch.evaluation.benchmarks.choices import LETTERS, asked
from archon_batch.evaluation.benchmarks.record import Record
from archon_batch.evaluation.judge_prompt import Case
from archon_batch.evaluation.statistics import Mean, mean

_TASK = "Answer the question in a few words, after as much thought as it takes."
_FREE, _CHOICE = "free-form", "multiple-choice"


class MixEval(Benchmark):
    name: ClassVar[str] = "mixeval"
    metric: ClassVar[str | None] = "choice"
    title: ClassVar[str] = "MixEval"
    figure: ClassVar[str] = "score, %"
    parts: ClassVar[tuple[Part, ...]] = (
        Part(_FREE, ("mixeval/free-form.json", "free-form.json")),
        Part(_CHOICE, ("mixeval/multiple-choice.json", "multiple-choice.json")),
    )
    by: ClassVar[tuple[str, ...]] = ("part", "benchmark")
    scale: ClassVar[ScaleName | None] = "grade"

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        free = [_free(place, record) for place, record in enumerate(records[_FREE])]
        return free + [_choice(place, record) for place, record in enumerate(records[_CHOICE])]

    def judged(self, problem: Problem) -> bool:
        return problem.groups["part"] == _FREE

    def case(self, problem: Problem, answers: Sequence[str], turn: int) -> Case:
        known = "\n".join(f"- {text}" for text in problem.reference)
        several = len(problem.reference) > 1
        shown = f"Any one of these:\n{known}" if several else problem.reference[0]
        return replace(super().case(problem, answers, turn), reference=shown)

    def headline(self, graded: Sequence[Graded], seed: int) -> Mean | None:
        parts = [
            found
            for part in (_FREE, _CHOICE)
            if (
                found := mean(
                    [
                        g.score.value
                        for g in graded
                        if g.problem.groups["part"] == part and g.score.value is not None
                    ],
                    seed,
                )
            )
        ]
        if not parts:
            return None
        # The parts are drawn independently, so the squares of their half-widths add up.
        middle = fmean(part.value for part in parts)
        down = sum((part.value - part.low) ** 2 for part in parts) ** 0.5 / len(parts)
        up = sum((part.high - part.value) ** 2 for part in parts) ** 0.5 / len(parts)
        return Mean(middle, middle - down, middle + up, sum(part.n for part in parts))


class MixEvalHard(MixEval):
    name: ClassVar[str] = "mixeval-hard"
    title: ClassVar[str] = "MixEval-Hard"
    parts: ClassVar[tuple[Part, ...]] = (
        Part(_FREE, ("mixeval-hard/free-form.json", "free-form.json")),
        Part(_CHOICE, ("mixeval-hard/multiple-choice.json", "multiple-choice.json")),
    )


def _free(place: int, record: Record) -> Problem:
    context = record.maybe("context")
    parts = [str(context).strip()] if context else []
    prompt = "\n\n".join((*parts, record.text("prompt").strip(), _TASK))
    # The same answer stands twice where two people gave it.
    known = list(dict.fromkeys(record.texts("target")))
    return Problem(f"{_FREE}/{place}", (prompt,), known, _groups(record, _FREE))


def _choice(place: int, record: Record) -> Problem:
    options, target = record.texts("options"), record.items("target")
    right = target[0]
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(options):
        record.refuse(f"target: expected the place of an option, found {target!r:.60}")
    context = record.maybe("context")
    try:
        prompt = asked(record.text("prompt"), options, str(context) if context else None)
    except ValueError as error:
        record.refuse(f"options: {error}")
    return Problem(f"{_CHOICE}/{place}", (prompt,), LETTERS[right], _groups(record, _CHOICE))


def _groups(record: Record, part: str) -> Mapping[str, str]:
    return {"part": part, "benchmark": record.text("benchmark_name")}
