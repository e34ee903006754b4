"""``archon-batch bench``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from archon_batch import bench as road
from archon_batch.archon import Architecture
from archon_batch.cli import room
from archon_batch.cli.judging import Bench, judge_through, judging_architecture
from archon_batch.cli.order import priced
from archon_batch.cli.page import visible
from archon_batch.cli.run import run as see_through
from archon_batch.cli.submit import made, refuse_unready
from archon_batch.cli.tables import aside, money, print_json, print_table
from archon_batch.dataset import Dataset
from archon_batch.dataset.published import Published, published
from archon_batch.errors import InputError
from archon_batch.judge import Docket, verdicts
from archon_batch.ledger import NanoUsd, Price, usd
from archon_batch.report import dollars
from archon_batch.scoring import BENCHMARKS, Benchmark, drawn
from archon_batch.settings import Settings
from archon_batch.store import Account, Job
from archon_batch.submit import Submission, refuse_small_budget

#: Reasons that are told of what could not be read.
_TOLD = 3


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)), metavar="NAME")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    metavar="PATH",
    help="The benchmark's published folder, or its file of questions.",
)
@room.arch_option
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take N problems, by the seed.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of what is drawn, shuffled, resampled."
)
@click.option("--judge", metavar="MODEL|ARCH", help="Who judges, where the benchmark has a judge.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Published answers of a model to compare with, for the benchmark's own baseline.",
)
@click.option("--budget", type=room.Usd(), help="The most to spend, judging and all, in USD.")
@click.option("--allow-unpriced", is_flag=True, help="Call models whose price nobody knows.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench"),
    show_default=True,
    metavar="FOLDER",
    help="Where the figures go, as JSON and Markdown.",
)
@room.json_option
def bench(
    name: str,
    data: Path,
    arch: str,
    limit: int | None,
    seed: int,
    judge: str | None,
    baseline: Path | None,
    budget: NanoUsd | None,
    allow_unpriced: bool,
    output: Path,
    as_json: bool,
) -> int:
    """Run the benchmark NAME through an architecture, and score it.

    NAME is gsm8k, math, math-500, mmlu, mmlu-pro, gpqa, ifeval, humaneval, mbpp, codecontests,
    mt-bench, arena-hard, arena-hard-2, alpaca-eval, mixeval or mixeval-hard; its published files
    are read as they are. Answers and verdicts are jobs like any other: the same command again goes
    on where it was, and pays for nothing twice.
    """
    settings = room.settings()
    benchmark = BENCHMARKS[name]()
    files = _read(benchmark, data, baseline)
    everything = benchmark.problems(files.records, seed)
    run = road.Run(benchmark, files.records, drawn(everything, limit, seed), seed)
    _refuse_unmeasurable(run)
    court = _court(benchmark, judge, allow_unpriced=allow_unpriced)
    architecture, prices = priced(arch, allow_unpriced=allow_unpriced)
    refuse_unready(settings, architecture)
    _refuse_unwritable(output)

    sitting = _Sitting(settings, run, budget)
    jobs, given = sitting.answers(architecture, prices)
    cases = road.docket(run, given)
    judged = (
        None if court is None or not (cases and cases.cases) else sitting.judge(court, cases, jobs)
    )
    figures = {
        **sitting.figures(jobs, given, cases, judged),
        "published": len(everything),
        "data": dict(files.digests),
        "architecture": architecture.name,
        "judge": None if judged is None else _of_judge(settings, judge, judged),
    }
    path = output / f"{name}-{architecture.name}-{jobs[0].id}"
    written = _write(path, figures)
    if as_json:
        print_json(figures)
    else:
        _print(figures)
        aside.print(f"the figures are in {' and '.join(written)}")
    return 1 if figures["given_up"] else 0


@dataclass(frozen=True, slots=True)
class _Sitting:
    """One benchmark on its way through its jobs."""

    settings: Settings
    run: road.Run
    budget: NanoUsd | None

    def answers(
        self, architecture: Architecture, prices: dict[str, Price | None]
    ) -> tuple[Sequence[Job], Sequence[road.Answers]]:
        """The jobs with the answers to each turn, all of them done."""
        jobs: list[Job] = []
        given: list[road.Answers] = []
        for turn in range(self.run.turns):
            job = self._answered(architecture, prices, turn, jobs, given)
            jobs.append(job)
            with room.store(self.settings) as store:
                given.append(road.answers(store, job))
            if not any(given[-1].values()):
                # Nobody is there to be asked a further turn.
                break
        return jobs, given

    def judge(self, court: Bench, cases: Docket, jobs: Sequence[Job]) -> Job:
        """The judge's job, when it is done."""
        name = f"{self.run.benchmark.name}-judge"
        court = replace(court, budget=self._left(jobs))
        job, status = judge_through(self.settings, name, cases, court)
        return _done(job, status)

    def figures(
        self,
        jobs: Sequence[Job],
        given: Sequence[road.Answers],
        cases: Docket | None,
        judged: Job | None,
    ) -> dict[str, Any]:
        """What it comes to; each score is put on record beside its answer."""
        with room.store(self.settings) as store:
            read = None if judged is None or cases is None else verdicts(store, judged, cases.scale)
            grades = road.graded(self.run, given, cases, read)
            for turn, job in enumerate(jobs):
                scores = road.row_scores(store, job, turn, grades)
                store.scores.write(job.id, self.run.benchmark.name, scores)
            total = sum((store.accounts.total(job.id) for job in jobs), Account())
        return {
            **road.told(self.run, grades, cases.suspects() if cases is not None else ()),
            "jobs": [job.id for job in jobs],
            "calls": total.calls,
            "prompt_tokens": total.prompt_tokens,
            "completion_tokens": total.completion_tokens,
            "usd": _dollars(total),
        }

    def _answered(
        self,
        architecture: Architecture,
        prices: dict[str, Price | None],
        turn: int,
        jobs: Sequence[Job],
        given: Sequence[road.Answers],
    ) -> Job:
        name = self.run.benchmark.name + (f"-turn-{turn + 1}" if turn else "")
        with Dataset.of(name, road.rows(self.run, turn, given)) as rows:
            submission = Submission(rows, architecture, prices, budget=self._left(jobs))
            if submission.budget is not None:
                refuse_small_budget(submission)
            with room.store(self.settings) as store:
                job = made(store, submission)
        if job.state == "done":
            return job
        aside.print(f"{name}: job {job.id}, {job.rows:,} rows")
        status = see_through(self.settings, job, wait=True)
        with room.store(self.settings) as store:
            return _done(store.jobs.get(job.id), status)

    def _left(self, jobs: Sequence[Job]) -> NanoUsd | None:
        """What is left of the budget after these jobs.

        Raises:
            InputError: nothing is.
        """
        if self.budget is None:
            return None
        with room.store(self.settings) as store:
            now = [store.jobs.get(job.id) for job in jobs]
        left = self.budget - sum(job.spent + job.in_doubt for job in now)
        if left <= 0:
            raise InputError(
                f"--budget: nothing is left of {usd(self.budget):f} USD for what is still to ask; "
                "the same command with a larger one goes on"
            )
        return NanoUsd(left)


def _read(benchmark: Benchmark, data: Path, baseline: Path | None) -> Published:
    names = {part.name for part in benchmark.parts}
    if baseline is not None and "baseline" not in names:
        raise InputError(f"--baseline: {benchmark.name} compares with no answers")
    return published(data, benchmark.parts, {} if baseline is None else {"baseline": baseline})


def _refuse_unmeasurable(run: road.Run) -> None:
    """Refuse before anything is paid for what could not be measured afterwards."""
    measured = [problem for problem in run.problems if not run.benchmark.judged(problem)]
    if not measured:
        return
    metric = run.benchmark.measure()
    for problem in measured:
        try:
            reference = metric.prepared(problem.reference)
        except ValueError as error:
            why = f"{metric.name} wants {error}; found {problem.reference!r:.80}"
            raise InputError(f"{run.benchmark.name}: problem {problem.id}: {why}") from None
    try:
        # One that needs what is not installed says so when it is used.
        metric.score("0", reference)
    except ModuleNotFoundError as error:
        raise InputError(str(error)) from None


def _court(benchmark: Benchmark, judge: str | None, *, allow_unpriced: bool) -> Bench | None:
    """Who judges, found to be one before anything is paid."""
    if benchmark.scale is None:
        if judge is not None:
            raise InputError(f"--judge: {benchmark.name} is measured without a judge")
        return None
    if judge is None:
        raise InputError(f"--judge: {benchmark.name} wants a model or an architecture that judges")
    court = Bench(judge, None, allow_unpriced)
    judging_architecture(court, benchmark.scale)
    return court


def _refuse_unwritable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output: {folder}: {(error.strerror or str(error)).lower()}") from None


def _done(job: Job, status: int) -> Job:
    """The job if it is done; else the command ends, and says how to go on."""
    if job.state != "done":
        aside.print(f"not scored yet: job {job.id} is {job.state}; the same command goes on")
        click.get_current_context().exit(status or 1)
    return job


def _of_judge(settings: Settings, judge: str | None, job: Job) -> dict[str, Any]:
    with room.store(settings) as store:
        total = store.accounts.total(job.id)
    return {"name": judge, "job": job.id, "calls": total.calls, "usd": _dollars(total)}


def _dollars(account: Account) -> float | None:
    """What was paid; None where a price is not known."""
    return None if account.unpriced_calls else dollars(account.cost)


def _write(path: Path, figures: Mapping[str, Any]) -> Sequence[str]:
    """Both files; the same jobs write the same names again."""
    texts = {
        ".json": json.dumps(figures, indent=2, ensure_ascii=False) + "\n",
        ".md": road.markdown(figures),
    }
    try:
        for suffix, text in texts.items():
            path.with_name(path.name + suffix).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return [f"{path}{suffix}" for suffix in texts]


def _print(figures: Mapping[str, Any]) -> None:
    figure = figures["figure"]
    click.echo(visible(f"{figures['title']}: {figures['architecture']}"))
    rows = [(figure["name"], *_cells(figure))]
    rows += [(name, _number(value), "", "") for name, value in figures["figures"].items()]
    print_table(("figure", "value", "95 % interval", "n"), rows)
    for field, groups in figures["by"].items():
        click.echo()
        of_each = [(name, *_cells(group)) for name, group in groups.items()]
        print_table((field, figure["name"], "95 % interval", "n"), of_each)
    click.echo()
    if unread := figures["unread"]:
        why = list(figures["unread_why"].items())[:_TOLD]
        click.echo(
            visible(f"{unread:,} could not be read: " + "; ".join(f"{n:,} x {w}" for w, n in why))
        )
    if figures["given_up"]:
        click.echo(f"{figures['given_up']:,} given up, which count as the least")
    if suspect := figures["suspect"]:
        some = ", ".join(suspect[:_TOLD])
        click.echo(visible(f"{len(suspect):,} may be talking to the judge; look at {some}"))
    click.echo(f"{money(figures['usd'])} paid for {figures['calls']:,} calls")
    if judge := figures["judge"]:
        click.echo(visible(f"{money(judge['usd'])} paid for judging by {judge['name']}"))


def _cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    if figure["value"] is None:
        return "-", "", "0"
    return (
        f"{figure['value']:.2f}",
        f"{figure['low']:.2f} to {figure['high']:.2f}",
        f"{figure['n']:,}",
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
