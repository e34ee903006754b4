"""A benchmark, step by step: rows for its jobs, cases for its judge, and what it all comes to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_batch.evaluation import (
    Benchmark,
    Graded,
    Mean,
    Problem,
    Records,
    Score,
    conversation,
    grouped,
)
from archon_batch.evaluation.judge_cases import Docket, Verdicts
from archon_batch.store import Answered, Job, Store

#: Answers of one turn by the problems' ids; None where the row was given up.
Answers = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Run:
    """A benchmark as it is run: the problems that were drawn of those that were published."""

    benchmark: Benchmark
    records: Records
    problems: Sequence[Problem]
    seed: int

    @property
    def turns(self) -> int:
        return max(len(problem.turns) for problem in self.problems)


def rows(run: Run, turn: int, before: Sequence[Answers]) -> Iterator[dict[str, Any]]:
    """The rows of a turn's job: each conversation so far, if all of it was answered."""
    for problem in run.problems:
        said = _said(problem, before)
        if turn >= len(problem.turns) or len(said) < turn:
            continue
        messages = conversation(problem.turns[: turn + 1], said[:turn])
        keeps = run.benchmark.keeps_reference and problem.reference is not None
        yield {
            "id": problem.id,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "benchmark": run.benchmark.name,
            **problem.groups,
            **({"reference": problem.reference} if keeps else {}),
        }


def answers(store: Store, job: Job) -> Answers:
    """The answers of a turn's job."""
    return {row.row_id: row.answer for row in _ended(store, job)}


def docket(run: Run, given: Sequence[Answers]) -> Docket | None:
    """The answers that the benchmark's judge is to see; None where it has no judge."""
    scale = run.benchmark.scale
    if scale is None:
        return None
    cases = {
        _case(problem, turn): run.benchmark.case(problem, _said(problem, given), turn)
        for problem in run.problems
        if run.benchmark.judged(problem)
        for turn in range(len(_said(problem, given)))
    }
    return Docket(scale, cases)


def graded(
    run: Run, given: Sequence[Answers], cases: Docket | None, verdicts: Verdicts | None
) -> Sequence[Graded]:
    """Every turn of every problem with its score, in the problems' order.

    A turn that was given up, or that follows one that was, is worth the least there is.
    """
    judged = {} if cases is None or verdicts is None else cases.scores(verdicts)
    is_comparison = any(problem.baseline is not None for problem in run.problems)
    games = cases.games(verdicts) if cases and verdicts and is_comparison else {}
    metric = None if run.benchmark.metric is None else run.benchmark.measure()
    found: list[Graded] = []
    for problem in run.problems:
        said = _said(problem, given)
        for turn in range(len(problem.turns)):
            name = _case(problem, turn)
            if turn >= len(said):
                score = Score(run.benchmark.least)
            elif metric is None or run.benchmark.judged(problem):
                score = judged[name]
            else:
                score = metric.score(said[turn], metric.prepared(problem.reference))
            found.append(Graded(problem, said, score, games.get(name), turn))
    return found


def told(run: Run, grades: Sequence[Graded], suspects: Sequence[str] = ()) -> dict[str, Any]:
    """What it comes to: a part of what ``bench --json`` prints."""
    unread = Counter(one.score.unread for one in grades if one.score.unread is not None)
    return {
        "benchmark": run.benchmark.name,
        "title": run.benchmark.title,
        "seed": run.seed,
        "problems": len(run.problems),
        "figure": {
            "name": run.benchmark.figure,
            **_figure(run, run.benchmark.headline(grades, run.seed)),
        },
        "figures": dict(run.benchmark.figures(grades, run.records, run.seed)),
        "by": {
            field: {
                name: _figure(run, run.benchmark.headline(some, run.seed))
                for name, some in grouped(grades, field).items()
            }
            for field in run.benchmark.by
        },
        "unread": unread.total(),
        "unread_why": dict(unread.most_common()),
        "given_up": sum(one.answer is None for one in grades),
        "suspect": list(suspects),
    }


def row_scores(store: Store, job: Job, turn: int, grades: Sequence[Graded]) -> Mapping[int, Score]:
    """The scores of a turn by the places of its job's rows, as the store keeps them."""
    scores = {one.problem.id: one.score for one in grades if one.turn == turn}
    return {row.ix: scores[row.row_id] for row in _ended(store, job)}


def markdown(figures: Mapping[str, Any]) -> str:
    """The figures as a page that people read."""
    figure = figures["figure"]
    head = [("", "value", "95 % interval", "n"), (figure["name"], *_cells(figure))]
    parts = [f"# {figures['title']}: {figures['architecture']}", _table(head)]
    if figures["figures"]:
        beside = [(name, _shown(value)) for name, value in figures["figures"].items()]
        parts.append(_table([("besides", "value"), *beside]))
    for field, groups in figures["by"].items():
        of_each = [(name, *_cells(group)) for name, group in groups.items()]
        parts.append(_table([(field, figure["name"], "95 % interval", "n"), *of_each]))
    facts = [
        (
            "problems",
            f"{figures['problems']:,} of {figures['published']:,}, seed {figures['seed']}",
        ),
        ("unread", f"{figures['unread']:,}"),
        ("given up", f"{figures['given_up']:,}"),
        ("jobs", ", ".join(figures["jobs"])),
        ("paid for answers, USD", _shown(figures["usd"])),
    ]
    if figures["judge"] is not None:
        judge = figures["judge"]
        facts += [
            ("judge", f"{judge['name']}, job {judge['jobs'][0]}"),
            ("paid for judging, USD", _shown(judge["usd"])),
            ("answers that may talk to the judge", f"{len(figures['suspect']):,}"),
        ]
    facts += [(f"SHA-256 of {name}", digest) for name, digest in figures["data"].items()]
    parts.append(_table([("run", ""), *facts]))
    return "\n\n".join(parts) + "\n"


def _said(problem: Problem, given: Sequence[Answers]) -> tuple[str, ...]:
    """The answers up to the first turn that has none."""
    said: list[str] = []
    for of_turn in given[: len(problem.turns)]:
        text = of_turn.get(problem.id)
        if text is None:
            break
        said.append(text)
    return tuple(said)


def _case(problem: Problem, turn: int) -> str:
    return problem.id if len(problem.turns) == 1 else f"{problem.id} turn {turn + 1}"


def _ended(store: Store, job: Job) -> Iterator[Answered]:
    return (row for row in store.endings.answers(job.id) if row.status in ("answered", "given_up"))


def _figure(run: Run, found: Mean | None) -> dict[str, float | int | None]:
    if found is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    times = run.benchmark.times
    ends = (found.value, found.low, found.high)
    return {
        **dict(zip(("value", "low", "high"), (times * v for v in ends), strict=True)),
        "n": found.n,
    }


def _cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    if figure["value"] is None:
        return "-", "-", "0"
    return (
        f"{figure['value']:.2f}",
        f"{figure['low']:.2f} to {figure['high']:.2f}",
        f"{figure['n']:,}",
    )


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)
    return "\n".join((first, "|" + " --- |" * len(rows[0]), *others))


def _plain(cell: str) -> str:
    """A cell without what would end it."""
    return " ".join(cell.replace("|", "\\|").split())
