"""AlpacaEval 2.0: 805 instructions, compared with the answers of GPT-4 Turbo.

Beside the plain win rate, the mean preference, stands the length-controlled one of Dubois et al.
(arXiv 2404.04475): what a logistic regression expects where both answers are of one length. Theirs
knows how hard each instruction is, and is held to sense by the answers of a model that was told to
be short, and long; both are in the published ``df_gamed.csv``. Without that file there is no such
rate: a regression that knows the lengths alone is far from the published figures.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.answers import outputs_by_instruction
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.logistic_regression import fit_logistic_regression, predict_probability

#: What a case of the two published models counts for beside one of ours: 0.2 for both.
_GAMED_WEIGHT = 0.1
_TIE = 0.5


class AlpacaEval(Benchmark):
    name: ClassVar[str] = "alpaca-eval"
    title: ClassVar[str] = "AlpacaEval 2.0"
    headline_name: ClassVar[str] = "win rate, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(
            "instructions",
            ("alpaca_eval_gpt4_baseline.json", "alpaca_eval.json", "prompts.jsonl"),
        ),
        FileSet(
            "baseline",
            ("alpaca_eval_gpt4_baseline.json", "**/gpt4_1106_preview/model_outputs.json"),
            required=False,
        ),
        FileSet("gamed", ("df_gamed.csv",), required=False),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("dataset",)
    scale: ClassVar[ScaleName | None] = "preference"

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        outputs = outputs_by_instruction(records["baseline"])
        return [
            _make_problem(place, record, outputs)
            for place, record in enumerate(records["instructions"])
        ]

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del seed
        gamed = list(_parse_gamed_cases(records["gamed"]))
        hard = {str(case.index): case.difficulty for case in gamed}
        cases = [
            PreferenceCase(
                one.score.value,
                len(one.problem.baseline_answer or "") - len(one.answer or ""),
                hard.get(one.problem.id, 0.0),
            )
            for one in turns
            if one.score.value is not None
        ]
        controlled = length_controlled_win_rate(cases, gamed) if gamed else None
        return {
            **leaderboard_figures([case.preference for case in cases]),
            "length-controlled win rate, %": controlled,
        }


@dataclass(frozen=True, slots=True)
class PreferenceCase:
    #: From 0, the baseline is better, to 1.
    preference: float
    #: Characters of the baseline's answer beyond ours.
    length_difference: float
    #: How hard the instruction is, as it was published.
    difficulty: float = 0.0


@dataclass(frozen=True, slots=True)
class GamedCase:
    """A case of ``df_gamed.csv``."""

    index: int
    preference: float
    length_difference: float
    difficulty: float


def leaderboard_figures(preferences: Sequence[float]) -> Mapping[str, float | int | None]:
    """The figures of the published leaderboard, of preferences from 0 to 1.

    Its discrete rate takes each preference for a whole win, a loss, or half of one.
    """
    if not preferences:
        return {}
    wins = sum(p > _TIE for p in preferences)
    draws = sum(p == _TIE for p in preferences)
    n = len(preferences)
    return {
        "standard error": 100 * stdev(preferences) / math.sqrt(n) if n > 1 else None,
        "won": wins,
        "lost": n - wins - draws,
        "tied": draws,
        "discrete win rate, %": 100 * (wins + draws / 2) / n,
    }


def length_controlled_win_rate(
    cases: Sequence[PreferenceCase], gamed: Sequence[GamedCase] = ()
) -> float | None:
    """The win rate in percent, were all answers as long as the baseline's; None of too few cases.

    Comparable with published rates only with the ``gamed`` cases.

    The published formula: the hyperbolic tangent of the difference of the lengths, in standard
    deviations; the instruction's difficulty; a constant, which the gamed cases do not share.
    """
    if len(cases) < 2:  # noqa: PLR2004
        return None
    spread = stdev([case.length_difference for case in cases]) or 1.0
    rows = [[math.tanh(case.length_difference / spread), case.difficulty, 1.0] for case in cases]
    rows += [[math.tanh(case.length_difference), case.difficulty, 0.0] for case in gamed]
    outcomes = [case.preference for case in cases] + [case.preference for case in gamed]
    weights = [1.0] * len(cases) + [_GAMED_WEIGHT] * len(gamed)
    found = fit_logistic_regression(rows, outcomes, weights)
    return 100 * fmean(predict_probability(found, [0.0, case.difficulty, 1.0]) for case in cases)


def _make_problem(place: int, record: BenchmarkRecord, outputs: Mapping[str, str]) -> Problem:
    instruction = record.get_text("instruction")
    if instruction not in outputs:
        record.reject(
            "instruction: no baseline answer to it; name the published outputs of a model with "
            "--baseline (model_outputs.json), or put alpaca_eval_gpt4_baseline.json beside"
        )
    dataset = record.get_optional("dataset")
    groups = {"dataset": str(dataset)} if dataset is not None else {}
    return Problem(str(place), (instruction,), None, groups, outputs[instruction])


def _parse_gamed_cases(records: Sequence[BenchmarkRecord]) -> Iterator[GamedCase]:
    for record in records:
        cells = [
            record.get_required(key)
            for key in ("index", "preference", "std_delta_len", "instruction_difficulty")
        ]
        try:
            place, preference, longer, difficulty = map(float, cells)
        except (TypeError, ValueError):
            record.reject(f"expected numbers, found {cells!r:.80}")
        yield GamedCase(int(place), preference, longer, difficulty)
