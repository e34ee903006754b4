"""Recorded verdicts of published judges, aggregated like ``archon-batch bench`` does.

    .venv/bin/python -m benchmarks.judged FOLDER

FOLDER contains ``alpaca_eval/annotations_weighted_gpt4_turbo.jsonl`` with the published leaderboard
in the same folder, and ``mt_bench/model_judgment/*_single.jsonl``. Missing files are skipped.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon_batch.evaluation.benchmarks import BENCHMARKS
from archon_batch.evaluation.benchmarks.alpaca_eval import leaderboard_figures
from archon_batch.evaluation.benchmarks.benchmark import GradedTurn, Problem
from archon_batch.scores import Score


def main(folder: Path) -> int:
    wrong = alpaca_eval(folder / "alpaca_eval") + mt_bench(folder / "mt_bench")
    print(f"\n{wrong} figures differ" if wrong else "\nall figures match the published ones")
    return int(wrong > 0)


def alpaca_eval(folder: Path) -> int:
    """Compare every figure with the leaderboard; return how many differ."""
    file = folder / "annotations_weighted_gpt4_turbo.jsonl"
    if not file.is_file():
        return 0
    preferences: dict[str, list[float]] = defaultdict(list)
    for row in _rows(file):
        preferences[row["generator_2"]].append(float(row["preference"]) - 1)
    with (folder / "leaderboard_weighted_gpt4_turbo.csv").open(encoding="utf-8") as handle:
        published = {row[""]: row for row in csv.DictReader(handle)}
    print("AlpacaEval 2.0: our figure, published figure")
    print(
        f"{'model':32} {'win rate, %':>17} {'standard error':>15} {'discrete, %':>17} {'won/lost/tied':>25}"
    )
    wrong = 0
    for model, values in preferences.items():
        figures, expected = _alpaca_figures(values), published.get(model)
        if expected is None:
            print(f"{model:32} {figures['win_rate']:8.4f} (not in the leaderboard)")
            continue
        pairs = {name: (figures[name], float(expected[name])) for name in figures}
        wrong += sum(abs(a - b) > 1e-6 for a, b in pairs.values())  # noqa: PLR2004
        print(
            f"{model:32} "
            + " ".join(f"{a:8.4f} {b:8.4f}" for a, b in list(pairs.values())[:3])
            + "  "
            + " ".join(f"{a:.0f}={b:.0f}" for a, b in list(pairs.values())[3:])
        )
    return wrong


def _alpaca_figures(preferences: list[float]) -> dict[str, float]:
    """Our figures under the names of the leaderboard."""
    benchmark = BENCHMARKS["alpaca-eval"]()
    problem = Problem("", ("",), baseline_answer="")
    headline = benchmark.headline([GradedTurn(problem, ("",), Score(p)) for p in preferences], 0)
    figures = leaderboard_figures(preferences)
    return {
        "win_rate": 100 * headline.value if headline else float("nan"),
        "standard_error": float(figures["standard error"] or 0),
        "discrete_win_rate": float(figures["discrete win rate, %"] or 0),
        "n_wins": float(figures["won"] or 0),
        "n_wins_base": float(figures["lost"] or 0),
        "n_draws": float(figures["tied"] or 0),
    }


def mt_bench(folder: Path) -> int:
    """Mean ratings by model and turn. FastChat records an unparsed rating as -1."""
    benchmark = BENCHMARKS["mt-bench"]()
    ratings: dict[str, list[GradedTurn]] = defaultdict(list)
    for file in sorted((folder / "model_judgment").glob("*_single.jsonl")):
        for row in _rows(file):
            turn = int(row["turn"]) - 1
            value = float(row["score"])
            score = Score(None, unparsed_reason="recorded as -1") if value < 0 else Score(value)
            problem = Problem(str(row["question_id"]), ("", ""))
            ratings[row["model"]].append(GradedTurn(problem, ("",) * (turn + 1), score, turn=turn))
    if ratings:
        print("\nMT-Bench: recorded ratings of GPT-4")
        print(f"{'model':32} {'turn 1':>8} {'turn 2':>8} {'mean':>8} {'n':>5} {'unparsed':>8}")
    for model, grades in sorted(ratings.items()):
        mean = benchmark.headline(grades, 0)
        turns = benchmark.extra_figures(grades, {}, 0)
        unparsed = sum(one.score.unparsed_reason is not None for one in grades)
        shown = [*turns.values(), mean.value if mean else None]
        print(
            f"{model:32} "
            + " ".join(f"{v:8.4f}" for v in shown if v)
            + f" {mean.n if mean else 0:5} {unparsed:8}"
        )
    return 0


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8", newline="\n") as handle:
        for line in handle:
            if line.strip():
                yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
