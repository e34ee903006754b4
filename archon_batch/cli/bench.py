"""``archon-batch bench``."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from archon_batch import private_files
from archon_batch.application.benchmark_run import Sitting
from archon_batch.application.judge_run import Bench, judging_architecture
from archon_batch.application.prepare import priced
from archon_batch.cli import options
from archon_batch.cli.submit import refuse_unready
from archon_batch.cli.tables import aside, money, print_json, print_table
from archon_batch.cli.terminal_page import say
from archon_batch.errors import InputError
from archon_batch.evaluation import BENCHMARKS, Benchmark, drawn
from archon_batch.evaluation import benchmark as road
from archon_batch.evaluation.benchmark_files import Published, published
from archon_batch.money import NanoUsd

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
@options.arch_option
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
@click.option("--budget", type=options.Usd(), help="The most to spend, judging and all, in USD.")
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
@options.json_option
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
    settings = options.settings()
    benchmark = BENCHMARKS[name]()
    files = _read(benchmark, data, baseline)
    everything = benchmark.problems(files.records, seed)
    if not everything:
        raise InputError(f"{name}: {data} holds none of its problems")
    run = road.Run(benchmark, files.records, drawn(everything, limit, seed), seed)
    _refuse_unmeasurable(run)
    court = _court(benchmark, judge, allow_unpriced=allow_unpriced)
    architecture, prices = priced(arch, allow_unpriced=allow_unpriced)
    refuse_unready(settings, architecture)
    _refuse_unwritable(output)

    sitting = Sitting(settings, run, budget)
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
        "judge": None if judged is None else {"name": judge, **sitting.account([judged])},
    }
    label = re.sub(r"[^\w.-]+", "-", architecture.name)
    path = output / f"{name}-{label}-{jobs[0].id}"
    written = _write(path, figures)
    if as_json:
        print_json(figures)
    else:
        _print(figures)
        aside.print(f"the figures are in {' and '.join(written)}")
    return 1 if figures["given_up"] else 0


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
    references = []
    for problem in measured:
        try:
            references.append(metric.prepared(problem.reference))
        except ValueError as error:
            why = f"{metric.name} wants {error}; found {problem.reference!r:.80}"
            raise InputError(f"{run.benchmark.name}: problem {problem.id}: {why}") from None
    try:
        # One that needs what is not installed says so when it is used.
        metric.score("0", references[0])
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
        private_files.folder(folder)
    except OSError as error:
        raise InputError(f"--output: {folder}: {(error.strerror or str(error)).lower()}") from None


def _write(path: Path, figures: Mapping[str, Any]) -> Sequence[str]:
    """Both files; the same jobs write the same names again."""
    texts = {
        ".json": json.dumps(figures, indent=2, ensure_ascii=False) + "\n",
        ".md": road.markdown(figures),
    }
    try:
        for suffix, text in texts.items():
            beside = path.with_name(path.name + suffix)
            with private_files.opened(beside, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return [f"{path}{suffix}" for suffix in texts]


def _print(figures: Mapping[str, Any]) -> None:
    figure = figures["figure"]
    say(f"{figures['title']}: {figures['architecture']}")
    rows = [(figure["name"], *_cells(figure))]
    rows += [(name, _number(value), "", "") for name, value in figures["figures"].items()]
    print_table(("figure", "value", "95 % interval", "n"), rows)
    for field, groups in figures["by"].items():
        say()
        of_each = [(name, *_cells(group)) for name, group in groups.items()]
        print_table((field, figure["name"], "95 % interval", "n"), of_each)
    say()
    if unread := figures["unread"]:
        why = list(figures["unread_why"].items())[:_TOLD]
        say(f"{unread:,} could not be read: " + "; ".join(f"{n:,} x {w}" for w, n in why))
    if figures["given_up"]:
        say(f"{figures['given_up']:,} given up, which count as the least")
    if suspect := figures["suspect"]:
        some = ", ".join(suspect[:_TOLD])
        say(f"{len(suspect):,} may be talking to the judge; look at {some}")
    say(f"{money(figures['usd'])} paid for {figures['calls']:,} calls")
    if judge := figures["judge"]:
        say(f"{money(judge['usd'])} paid for judging by {judge['name']}")


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
