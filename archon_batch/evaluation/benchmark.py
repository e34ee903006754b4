"""The steps of a benchmark run: rows for its jobs, cases for its judge, grades and figures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    GradedTurn,
    Problem,
    conversation,
    group_by_field,
)
from archon_batch.evaluation.judge_cases import JudgeBatch, Verdicts
from archon_batch.evaluation.statistics import MeanEstimate
from archon_batch.scores import Score
from archon_batch.store import ItemAnswer, Job, Store

#: Answers of one turn by problem id; None for a failed row.
TurnAnswers = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class BenchmarkSample:
    """The problems of a benchmark that a run uses: all, or a sample."""

    benchmark: Benchmark
    records: BenchmarkRecords
    problems: Sequence[Problem]
    seed: int

    @property
    def turns(self) -> int:
        return max(len(problem.turns) for problem in self.problems)


def turn_rows(
    sample: BenchmarkSample, turn: int, earlier_answers: Sequence[TurnAnswers]
) -> Iterator[dict[str, Any]]:
    """The rows of a turn's job: each conversation whose earlier turns are all answered."""
    for problem in sample.problems:
        answers = _answers_so_far(problem, earlier_answers)
        if turn >= len(problem.turns) or len(answers) < turn:
            continue
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        has_reference = sample.benchmark.stores_reference and problem.reference is not None
        yield {
            "id": problem.id,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "benchmark": sample.benchmark.name,
            **problem.groups,
            **({"reference": problem.reference} if has_reference else {}),
        }


def read_turn_answers(store: Store, job: Job) -> TurnAnswers:
    """The answers of a turn's job by problem id."""
    return {row.row_id: row.answer for row in _finished_rows(store, job)}


def build_judge_batch(
    sample: BenchmarkSample, answers_by_turn: Sequence[TurnAnswers]
) -> JudgeBatch | None:
    """The answers that the benchmark's judge rates; None for a benchmark without a judge."""
    scale = sample.benchmark.scale
    if scale is None:
        return None
    cases = {
        _case_name(problem, turn): sample.benchmark.judge_case(
            problem, _answers_so_far(problem, answers_by_turn), turn
        )
        for problem in sample.problems
        if sample.benchmark.needs_judge(problem)
        for turn in range(len(_answers_so_far(problem, answers_by_turn)))
    }
    return JudgeBatch(scale, cases)


def grade_answers(
    sample: BenchmarkSample,
    answers_by_turn: Sequence[TurnAnswers],
    judge_batch: JudgeBatch | None,
    verdicts: Verdicts | None,
) -> Sequence[GradedTurn]:
    """Every turn of every problem with its score, in the order of the problems.

    A failed turn, and every turn after it, gets the benchmark's lowest score.
    """
    judged = {} if judge_batch is None or verdicts is None else judge_batch.scores(verdicts)
    is_comparison = any(problem.baseline_answer is not None for problem in sample.problems)
    pairwise = (
        judge_batch.pairwise_results(verdicts) if judge_batch and verdicts and is_comparison else {}
    )
    metric = None if sample.benchmark.metric_name is None else sample.benchmark.make_metric()
    grades: list[GradedTurn] = []
    for problem in sample.problems:
        answers = _answers_so_far(problem, answers_by_turn)
        for turn in range(len(problem.turns)):
            name = _case_name(problem, turn)
            if turn >= len(answers):
                score = Score(sample.benchmark.min_score)
            elif metric is None or sample.benchmark.needs_judge(problem):
                score = judged[name]
            else:
                score = metric.score(answers[turn], metric.parse_reference(problem.reference))
            grades.append(GradedTurn(problem, answers, score, pairwise.get(name), turn))
    return grades


def to_json(
    sample: BenchmarkSample, turns: Sequence[GradedTurn], flagged: Sequence[str] = ()
) -> dict[str, Any]:
    """The figures of the run: a part of the output of ``bench --json``."""
    unparsed = Counter(
        turn.score.unparsed_reason for turn in turns if turn.score.unparsed_reason is not None
    )
    return {
        "benchmark": sample.benchmark.name,
        "title": sample.benchmark.title,
        "seed": sample.seed,
        "problems": len(sample.problems),
        "figure": {
            "name": sample.benchmark.headline_name,
            **_scaled_estimate(sample, sample.benchmark.headline(turns, sample.seed)),
        },
        "figures": dict(sample.benchmark.extra_figures(turns, sample.records, sample.seed)),
        "by": {
            field: {
                name: _scaled_estimate(sample, sample.benchmark.headline(group, sample.seed))
                for name, group in group_by_field(turns, field).items()
            }
            for field in sample.benchmark.group_fields
        },
        "unparsed": unparsed.total(),
        "unparsed_reasons": dict(unparsed.most_common()),
        "failed": sum(turn.answer is None for turn in turns),
        "flagged": list(flagged),
    }


def row_scores(
    store: Store, job: Job, turn: int, turns: Sequence[GradedTurn]
) -> Mapping[int, Score]:
    """The scores of a turn by row index of its job, as the store records them."""
    scores = {graded.problem.id: graded.score for graded in turns if graded.turn == turn}
    return {row.ix: scores[row.row_id] for row in _finished_rows(store, job)}


def to_markdown(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown page."""
    figure = figures["figure"]
    head = [("", "value", "95 % interval", "n"), (figure["name"], *_estimate_cells(figure))]
    parts = [f"# {figures['title']}: {figures['architecture']}", _table(head)]
    if figures["figures"]:
        extra = [(name, _format_number(value)) for name, value in figures["figures"].items()]
        parts.append(_table([("figure", "value"), *extra]))
    for field, groups in figures["by"].items():
        by_group = [(name, *_estimate_cells(group)) for name, group in groups.items()]
        parts.append(_table([(field, figure["name"], "95 % interval", "n"), *by_group]))
    facts = [
        (
            "problems",
            f"{figures['problems']:,} of {figures['published']:,}, seed {figures['seed']}",
        ),
        ("unparsed", f"{figures['unparsed']:,}"),
        ("failed", f"{figures['failed']:,}"),
        ("jobs", ", ".join(figures["jobs"])),
        ("paid for answers, USD", _format_number(figures["usd"])),
    ]
    if figures["judge"] is not None:
        judge = figures["judge"]
        facts += [
            ("judge", f"{judge['name']}, job {judge['jobs'][0]}"),
            ("paid for judging, USD", _format_number(judge["usd"])),
            ("answers that may address the judge", f"{len(figures['flagged']):,}"),
        ]
    facts += [(f"SHA-256 of {name}", digest) for name, digest in figures["data"].items()]
    parts.append(_table([("run", ""), *facts]))
    return "\n\n".join(parts) + "\n"


def _answers_so_far(problem: Problem, answers_by_turn: Sequence[TurnAnswers]) -> tuple[str, ...]:
    """The answers before the first turn without an answer."""
    answers: list[str] = []
    for turn_answers in answers_by_turn[: len(problem.turns)]:
        text = turn_answers.get(problem.id)
        if text is None:
            break
        answers.append(text)
    return tuple(answers)


def _case_name(problem: Problem, turn: int) -> str:
    return problem.id if len(problem.turns) == 1 else f"{problem.id} turn {turn + 1}"


def _finished_rows(store: Store, job: Job) -> Iterator[ItemAnswer]:
    return (
        row for row in store.item_results.answers(job.id) if row.status in ("answered", "failed")
    )


def _scaled_estimate(
    sample: BenchmarkSample, mean: MeanEstimate | None
) -> dict[str, float | int | None]:
    if mean is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    factor = sample.benchmark.headline_factor
    return {
        "value": factor * mean.value,
        "low": factor * mean.low,
        "high": factor * mean.high,
        "n": mean.n,
    }


def _estimate_cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    if figure["value"] is None:
        return "-", "-", "0"
    return (
        f"{figure['value']:.2f}",
        f"{figure['low']:.2f} to {figure['high']:.2f}",
        f"{figure['n']:,}",
    )


def _format_number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(_escape_cell(cell) for cell in row)} |" for row in rows)
    return "\n".join((first, "|" + " --- |" * len(rows[0]), *others))


def _escape_cell(cell: str) -> str:
    """The text without characters that would end the cell."""
    return " ".join(cell.replace("|", "\\|").split())
