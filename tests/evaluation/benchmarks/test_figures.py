"""Figures of benchmarks from scores and verdicts."""

import math
import random

import pytest

from archon_batch.evaluation.benchmarks import BENCHMARKS
from archon_batch.evaluation.benchmarks.alpaca_eval import (
    GamedCase,
    PreferenceCase,
    leaderboard_figures,
    length_controlled_win_rate,
)
from archon_batch.evaluation.benchmarks.arena_hard import win_rate
from archon_batch.evaluation.benchmarks.benchmark import GradedTurn, Problem
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.judge_prompt import PairwiseResult
from archon_batch.evaluation.logistic_regression import fit_logistic_regression, predict_probability
from archon_batch.evaluation.statistics import MeanEstimate
from archon_batch.scores import Score


def graded(value: float | None, turn: int = 0, **groups: str) -> GradedTurn:
    score = Score(value, unparsed_reason=None if value is not None else "the judge said nothing")
    return GradedTurn(Problem("1", ("?", "?"), groups=groups), ("a", "b"), score, turn=turn)


def value(found: MeanEstimate | None) -> float:
    assert found is not None
    return found.value


def test_mt_bench_is_the_mean_of_all_parsed_ratings() -> None:
    benchmark = BENCHMARKS["mt-bench"]()
    grades = [graded(8), graded(6), graded(1, turn=1), graded(None, turn=1)]
    assert value(benchmark.headline(grades, 0)) == 5
    assert benchmark.extra_figures(grades, {}, 0) == {"turn 1": 7, "turn 2": 1}


def test_arena_hard_counts_much_better_as_three_wins_and_a_tie_as_half() -> None:
    # Our answer as A is much better (3 of 3 wins); the baseline as A is better (0 of 1).
    assert win_rate([PairwiseResult("A>>B", "A>B")]) == pytest.approx(3 / 4)
    assert win_rate([PairwiseResult("A=B", "A=B")]) == 0.5
    assert win_rate([PairwiseResult("A>B", "B>A"), PairwiseResult("B>A", "A>B")]) == 0.5
    assert win_rate([PairwiseResult("A>>B", "B>A")]) == 1
    assert win_rate([PairwiseResult("B>>A", "A>B")]) == 0


def test_arena_hard_leaves_out_a_prompt_with_an_unparsed_verdict() -> None:
    benchmark = BENCHMARKS["arena-hard"]()
    read, half = PairwiseResult("A>B", "B>A"), PairwiseResult("B>A", None)
    grades = [
        GradedTurn(Problem("1", ("?",)), ("a",), Score(game.value), game)
        for game in (read, read, half)
    ]
    found = benchmark.headline(grades, 0)
    assert found == MeanEstimate(1.0, 1.0, 1.0, 2)
    assert benchmark.extra_figures(grades, {}, 0)["won in both orders"] == 2
    assert benchmark.headline(grades[2:], 0) is None


def test_the_interval_of_arena_hard_is_deterministic_and_contains_the_rate() -> None:
    benchmark = BENCHMARKS["arena-hard"]()
    games = [
        PairwiseResult("A>B", "B>A") if n % 3 else PairwiseResult("B>>A", "A>B") for n in range(60)
    ]
    grades = [GradedTurn(Problem("1", ("?",)), ("a",), Score(g.value), g) for g in games]
    found = benchmark.headline(grades, 7)
    assert found == benchmark.headline(grades, 7)
    assert found is not None
    assert found.low < found.value < found.high


def test_mixeval_is_the_mean_of_its_parts_for_any_sizes() -> None:
    benchmark = BENCHMARKS["mixeval"]()
    grades = [graded(1, part="free-form"), *(graded(0, part="multiple-choice") for _ in range(9))]
    assert value(benchmark.headline(grades, 0)) == 0.5
    assert value(benchmark.headline(grades[1:], 0)) == 0


def test_ifeval_reports_prompts_and_instructions_strictly_and_loosely() -> None:
    benchmark = BENCHMARKS["ifeval"]()
    reference = {
        "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
        "kwargs": [{}, {"end_phrase": "Done."}],
    }
    answer = "Here it is, as asked.\nThe text. Done."
    one = GradedTurn(Problem("1", ("?",), reference), (answer,), Score(0.0))
    none = GradedTurn(Problem("2", ("?",), reference), (), Score(0.0))
    assert benchmark.extra_figures([one, none], {}, 0) == {
        "instructions followed strictly, %": 25,
        "prompts followed loosely, %": 50,
        "instructions followed loosely, %": 50,
    }
    metric = benchmark.make_metric()
    score = metric.score(answer, metric.parse_reference(reference))
    assert (score.value, score.extracted) == (0, "not followed: punctuation:no_comma")


def test_alpaca_eval_has_the_figures_of_the_published_leaderboard() -> None:
    figures = leaderboard_figures([0.9, 0.2, 0.5, 0.6])
    assert figures["discrete win rate, %"] == 62.5
    assert (figures["won"], figures["lost"], figures["tied"]) == (2, 1, 1)
    assert figures["standard error"] == pytest.approx(14.4337567)
    assert leaderboard_figures([]) == {}


def longer_wins(bias: float, skill: float, seed: int = 1) -> list[PreferenceCase]:
    """Preferences by our skill and by a bias for long answers."""
    rng = random.Random(seed)  # noqa: S311
    lengths = [rng.gauss(-300, 500) for _ in range(2000)]
    deviation = (sum((x + 300) ** 2 for x in lengths) / len(lengths)) ** 0.5
    return [
        PreferenceCase(1 / (1 + math.exp(-skill + bias * math.tanh(x / deviation))), x)
        for x in lengths
    ]


def test_the_length_controlled_rate_removes_the_effect_of_length() -> None:
    cases = longer_wins(bias=2.0, skill=-0.5)
    raw = 100 * sum(case.preference for case in cases) / len(cases)
    expected = 100 / (1 + math.exp(0.5))
    controlled = length_controlled_win_rate(cases)
    assert controlled == pytest.approx(expected, abs=0.5)
    assert raw > expected + 5


def test_at_equal_lengths_both_rates_are_the_same() -> None:
    cases = [PreferenceCase(p, 0.0) for p in (0.1, 0.4, 0.9, 0.2)]
    assert length_controlled_win_rate(cases) == pytest.approx(40, abs=0.01)
    assert length_controlled_win_rate(cases[:1]) is None


def test_published_difficulties_and_gamed_cases_change_the_controlled_rate() -> None:
    cases = [
        PreferenceCase(case.preference, case.length_difference, float(n % 2))
        for n, case in enumerate(longer_wins(bias=2.0, skill=0.0))
    ]
    gamed = [GamedCase(n, 0.9, -1.0, 0.0) for n in range(2000)]
    assert length_controlled_win_rate(cases) != pytest.approx(
        length_controlled_win_rate(cases, gamed), abs=0.1
    )
    row = {"index": 0, "preference": 0.5, "std_delta_len": 0.1, "instruction_difficulty": "high"}
    benchmark = BENCHMARKS["alpaca-eval"]()
    with pytest.raises(Exception, match=r"df_gamed.csv:1: expected numbers"):
        benchmark.extra_figures([], {"gamed": [BenchmarkRecord("df_gamed.csv", 1, row)]}, 0)


def test_without_the_published_cases_there_is_no_length_controlled_rate() -> None:
    cases = [graded(n / 4) for n in range(4)]

    figures = BENCHMARKS["alpaca-eval"]().extra_figures(cases, {"gamed": []}, 0)

    assert figures["length-controlled win rate, %"] is None
    assert figures["lost"] == 2


def test_the_regression_recovers_known_coefficients() -> None:
    rng = random.Random(3)  # noqa: S311
    rows = [(rng.gauss(0, 1), rng.gauss(0, 1), 1.0) for _ in range(400)]
    made = (1.5, -0.7, 0.3)
    shares = [predict_probability(made, row) for row in rows]
    assert fit_logistic_regression(rows, shares, [1.0] * len(rows)) == pytest.approx(made, abs=0.01)
    # Separable outcomes have no maximum likelihood; the fit still ends, with the right sign.
    sure = fit_logistic_regression(rows, [float(row[0] > 0) for row in rows], [1.0] * len(rows))
    assert sure[0] > 5
