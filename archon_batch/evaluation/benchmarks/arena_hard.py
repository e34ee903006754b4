"""Arena-Hard-Auto: hard prompts of users, compared with a baseline (Li et al., arXiv 2406.11939).

Two games a prompt, each answer once as A; a verdict is one of five. "Much better" counts as three
wins, a tie as half a win for each; a prompt with a verdict that cannot be read is left out. The
figure is the win rate of a Bradley-Terry model, which against one baseline is the plain share of
wins. Its interval is 95 %, from bootstraps of the prompts, since two games of one prompt are no
independent ones; the published code draws single games, for 90 % in its second edition.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from archon_batch.archon import ScaleName
from archon_batch.evaluation.benchmarks.answers import answers_by_model_and_question
from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
)
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.bradley_terry import fit_log_strengths, win_rate
from archon_batch.evaluation.judge_prompt import PairwiseResult
from archon_batch.evaluation.statistics import CONFIDENCE, MeanEstimate

#: What "much better" counts for beside "better".
_MUCH_BETTER_WEIGHT = 3.0
_BOOTSTRAPS = 100
#: The published baselines, by category; the subcategories of the second edition share one.
_BASELINES: Mapping[str, str] = {
    "arena-hard-v0.1": "gpt-4-0314",
    "hard_prompt": "o3-mini-2025-01-31",
    "creative_writing": "gemini-2.0-flash-001",
}
_US, _THEM = "us", "baseline"


class ArenaHard(Benchmark):
    name: ClassVar[str] = "arena-hard"
    title: ClassVar[str] = "Arena-Hard-Auto v0.1"
    headline_name: ClassVar[str] = "win rate, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("questions", ("question.jsonl", "arena-hard-v0.1/question.jsonl")),
        FileSet("baseline", ("**/model_answer/gpt-4-0314.jsonl",), required=False),
    )
    group_fields: ClassVar[tuple[str, ...]] = ()
    scale: ClassVar[ScaleName | None] = "comparison"

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        answers = answers_by_model_and_question(records["baseline"])
        # A baseline of one's own may be any model: then it is everybody's.
        models = {model for model, _ in answers}
        sole = next(iter(models)) if len(models) == 1 else None
        return [_make_problem(record, answers, sole) for record in records["questions"]]

    def headline(self, turns: Sequence[GradedTurn], seed: int) -> MeanEstimate | None:
        games = [
            g.pairwise
            for g in turns
            if g.pairwise is not None and None not in g.pairwise.verdict_values
        ]
        if not games:
            return None
        dice = random.Random(seed)  # noqa: S311  (not a secret: the same twice)
        rates = sorted(
            bradley_terry_win_rate(dice.choices(games, k=len(games))) for _ in range(_BOOTSTRAPS)
        )
        tail = (1 - CONFIDENCE) / 2 * (_BOOTSTRAPS - 1)
        return MeanEstimate(
            bradley_terry_win_rate(games),
            rates[round(tail)],
            rates[round(_BOOTSTRAPS - 1 - tail)],
            len(games),
        )

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        games = [g.pairwise for g in turns if g.pairwise is not None]
        ends = Counter(game.value for game in games)
        answers = [g.answer for g in turns if g.answer is not None]
        return {
            "won in both orders": ends[1.0],
            "tied": ends[0.5],
            "lost in both orders": ends[0.0],
            "orders contradict": sum(game.orders_disagree for game in games),
            "mean characters": sum(map(len, answers)) / len(answers) if answers else None,
        }


class ArenaHard2(ArenaHard):
    name: ClassVar[str] = "arena-hard-2"
    title: ClassVar[str] = "Arena-Hard-Auto v2.0"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet("questions", ("question.jsonl", "arena-hard-v2.0/question.jsonl")),
        FileSet(
            "baseline",
            (
                "**/model_answer/o3-mini-2025-01-31.jsonl",
                "**/model_answer/gemini-2.0-flash-001.jsonl",
            ),
            required=False,
            match_all_patterns=True,
        ),
    )
    group_fields: ClassVar[tuple[str, ...]] = ("category", "subcategory")


def bradley_terry_win_rate(games: Sequence[PairwiseResult]) -> float:
    """How likely we beat the baseline, of games that could be read."""
    wins: dict[tuple[str, str], float] = defaultdict(float)
    for share, weight in _weighted_outcomes(games):
        wins[_US, _THEM] += weight * share
        wins[_THEM, _US] += weight * (1 - share)
    total = wins[_US, _THEM] + wins[_THEM, _US]
    if not wins[_US, _THEM] or not wins[_THEM, _US]:
        # The likeliest strength is without bound, and the rate it comes to is not.
        return wins[_US, _THEM] / total
    return win_rate(fit_log_strengths(wins), _US, _THEM)


def _weighted_outcomes(games: Sequence[PairwiseResult]) -> Iterator[tuple[float, float]]:
    """Of each game: 1 won, 0 lost, 0.5 tied, and how much that counts."""
    for game in games:
        for worth in game.verdict_values:
            if worth is None:
                continue
            share = 0.5 if worth == 0 else float(worth > 0)
            yield share, _MUCH_BETTER_WEIGHT if abs(worth) > 1 else 1.0


def _make_problem(
    record: BenchmarkRecord, answers: Mapping[tuple[str, str], str], sole_model: str | None
) -> Problem:
    name, category = record.get_id("uid", "question_id"), record.get_text("category")
    model = sole_model or _BASELINES.get(category, "")
    baseline = answers.get((model, name))
    if baseline is None:
        record.reject(
            f"uid: no baseline answer to {name}; name a file of them with --baseline, "
            f"or put {_BASELINES.get(category, 'MODEL')}.jsonl into model_answer"
        )
    groups = {
        key: text
        for key in ("category", "subcategory")
        if (text := record.get_optional(key)) is not None
    }
    return Problem(name, (_prompt(record),), None, groups, baseline)


def _prompt(record: BenchmarkRecord) -> str:
    if record.get_optional("prompt") is not None:
        return record.get_text("prompt")
    first = record.get_list("turns")[0]
    content = first.get("content") if isinstance(first, dict) else first
    if not isinstance(content, str):
        record.reject("turns: expected a text in the first one")
    return content
