"""AlpacaEval 2.0: 805 instructions, compared with the answers of GPT-4 Turbo.

The figures are the win rate (the mean preference) and the length-controlled win rate of Dubois et
al. (arXiv 2404.04475): the win rate that a logistic regression predicts for answers of equal length.
Their regression also uses the difficulty of each instruction and is regularised by the answers of a
model asked to be short and long; the published ``df_gamed.csv`` has both. Without that file we
report no length-controlled rate: a regression on lengths alone is far from the published figures.
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

#: The weight of a gamed case relative to one of ours; the two published models sum to 0.2.
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
            _make_problem(index, record, outputs)
            for index, record in enumerate(records["instructions"])
        ]

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del seed
        gamed = list(_parse_gamed_cases(records["gamed"]))
        difficulties = {str(case.index): case.difficulty for case in gamed}
        cases = [
            PreferenceCase(
                turn.score.value,
                len(turn.problem.baseline_answer or "") - len(turn.answer or ""),
                difficulties.get(turn.problem.id, 0.0),
            )
            for turn in turns
            if turn.score.value is not None
        ]
        controlled = length_controlled_win_rate(cases, gamed) if gamed else None
        return {
            **leaderboard_figures([case.preference for case in cases]),
            "length-controlled win rate, %": controlled,
        }


@dataclass(frozen=True, slots=True)
class PreferenceCase:
    #: From 0 (the baseline is better) to 1 (our answer is better).
    preference: float
    #: Characters of the baseline answer minus ours.
    length_difference: float
    #: The published difficulty of the instruction.
    difficulty: float = 0.0


@dataclass(frozen=True, slots=True)
class GamedCase:
    """A case of ``df_gamed.csv``."""

    index: int
    preference: float
    length_difference: float
    difficulty: float


def leaderboard_figures(preferences: Sequence[float]) -> Mapping[str, float | int | None]:
    """The figures of the published leaderboard from preferences from 0 to 1.

    The discrete win rate counts each preference as a win, a loss or a tie.
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
    """The win rate in percent at equal lengths; None with fewer than two cases.

    Comparable with published rates only with the ``gamed`` cases. The features of the published
    formula: tanh of the length difference in standard deviations, the difficulty of the
    instruction, and a constant, which the gamed cases do not share.
    """
    if len(cases) < 2:  # noqa: PLR2004
        return None
    deviation = stdev([case.length_difference for case in cases]) or 1.0
    rows = [[math.tanh(case.length_difference / deviation), case.difficulty, 1.0] for case in cases]
    rows += [[math.tanh(case.length_difference), case.difficulty, 0.0] for case in gamed]
    outcomes = [case.preference for case in cases] + [case.preference for case in gamed]
    weights = [1.0] * len(cases) + [_GAMED_WEIGHT] * len(gamed)
    coefficients = fit_logistic_regression(rows, outcomes, weights)
    return 100 * fmean(
        predict_probability(coefficients, [0.0, case.difficulty, 1.0]) for case in cases
    )


def _make_problem(index: int, record: BenchmarkRecord, outputs: Mapping[str, str]) -> Problem:
    instruction = record.get_text("instruction")
    if instruction not in outputs:
        record.reject(
            "instruction: no baseline answer for it; name a model's published outputs with "
            "--baseline (model_outputs.json), or add alpaca_eval_gpt4_baseline.json"
        )
    dataset = record.get_optional("dataset")
    groups = {"dataset": str(dataset)} if dataset is not None else {}
    return Problem(str(index), (instruction,), None, groups, outputs[instruction])


def _parse_gamed_cases(records: Sequence[BenchmarkRecord]) -> Iterator[GamedCase]:
    for record in records:
        cells = [
            record.get_required(key)
            for key in ("index", "preference", "std_delta_len", "instruction_difficulty")
        ]
        try:
            index, preference, length_difference, difficulty = map(float, cells)
        except (TypeError, ValueError):
            record.reject(f"expected numbers, found {cells!r:.80}")
        yield GamedCase(int(index), preference, length_difference, difficulty)
