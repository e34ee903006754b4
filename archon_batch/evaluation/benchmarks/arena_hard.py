"""Arena-Hard-Auto: hard prompts of users, compared with a baseline (Li et al., arXiv 2406.11939).

Each prompt is judged twice, with each answer once as A; a verdict is one of five. "Much better"
counts as three wins, a tie as half a win for each side. A prompt with an unparsed verdict is left
out. The figure is the win rate of a Bradley-Terry model, which against a single baseline equals the
weighted share of wins. The 95 % interval is a bootstrap over prompts, since the two games of a
prompt are not independent; the published code draws single games (90 % in its second edition).
"""

import random
from collections import Counter
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
from archon_batch.evaluation.judge_prompt import PairwiseResult
from archon_batch.evaluation.statistics import CONFIDENCE, MeanEstimate

#: Wins that "much better" counts as.
_MUCH_BETTER_WEIGHT = 3.0
_BOOTSTRAPS = 100
#: The published baseline models by category; the second edition has one per category.
_BASELINES: Mapping[str, str] = {
    "arena-hard-v0.1": "gpt-4-0314",
    "hard_prompt": "o3-mini-2025-01-31",
    "creative_writing": "gemini-2.0-flash-001",
}


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
        # A baseline file of the user's may hold any model; then it serves all categories.
        models = {model for model, _ in answers}
        sole_model = next(iter(models)) if len(models) == 1 else None
        return [_make_problem(record, answers, sole_model) for record in records["questions"]]

    def headline(self, turns: Sequence[GradedTurn], seed: int) -> MeanEstimate | None:
        results = [
            turn.pairwise
            for turn in turns
            if turn.pairwise is not None and None not in turn.pairwise.verdict_values
        ]
        if not results:
            return None
        rng = random.Random(seed)  # noqa: S311  (not a secret)
        rates = sorted(win_rate(rng.choices(results, k=len(results))) for _ in range(_BOOTSTRAPS))
        tail = (1 - CONFIDENCE) / 2 * (_BOOTSTRAPS - 1)
        low, high = rates[round(tail)], rates[round(_BOOTSTRAPS - 1 - tail)]
        return MeanEstimate(win_rate(results), low, high, len(results))

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        results = [turn.pairwise for turn in turns if turn.pairwise is not None]
        counts = Counter(result.value for result in results)
        answers = [turn.answer for turn in turns if turn.answer is not None]
        return {
            "won in both orders": counts[1.0],
            "tied": counts[0.5],
            "lost in both orders": counts[0.0],
            "orders contradict": sum(result.orders_disagree for result in results),
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


def win_rate(results: Sequence[PairwiseResult]) -> float:
    """The weighted share of wins over all parsed verdicts, from 0 to 1."""
    outcomes = list(_weighted_outcomes(results))
    return sum(win * weight for win, weight in outcomes) / sum(weight for _, weight in outcomes)


def _weighted_outcomes(results: Sequence[PairwiseResult]) -> Iterator[tuple[float, float]]:
    """Each verdict as a win (1), a tie (0.5) or a loss (0), and its weight."""
    for result in results:
        for value in result.verdict_values:
            if value is not None:
                win = 0.5 if value == 0 else float(value > 0)
                yield win, _MUCH_BETTER_WEIGHT if abs(value) > 1 else 1.0


def _make_problem(
    record: BenchmarkRecord, answers: Mapping[tuple[str, str], str], sole_model: str | None
) -> Problem:
    name, category = record.get_id("uid", "question_id"), record.get_text("category")
    model = sole_model or _BASELINES.get(category, "")
    baseline = answers.get((model, name))
    if baseline is None:
        record.reject(
            f"uid: no baseline answer for {name}; name a file of answers with --baseline, "
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
        record.reject("turns: the first turn has no text")
    return content
