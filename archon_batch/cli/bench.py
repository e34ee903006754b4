"""``archon-batch bench``."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from archon_batch import private_files
from archon_batch.application.benchmark_run import BenchmarkRun
from archon_batch.application.events import Report
from archon_batch.application.judge_run import JudgeSettings, judge_architecture
from archon_batch.application.prepare import load_priced, require_ready
from archon_batch.application.run import UnfinishedJobError
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import format_usd, print_json, print_table, stderr
from archon_batch.cli.terminal_page import echo
from archon_batch.errors import InputError
from archon_batch.evaluation import benchmark as benchmark_steps
from archon_batch.evaluation.benchmark_files import BenchmarkFiles, read_benchmark_files
from archon_batch.evaluation.benchmarks import BENCHMARKS
from archon_batch.evaluation.benchmarks.benchmark import Benchmark, sample_problems
from archon_batch.money import NanoUsd

#: Number of reasons shown for unparsed answers.
_MAX_SHOWN = 3


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)), metavar="NAME")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    metavar="PATH",
    help="The benchmark's published folder or file of questions.",
)
@options.arch_option
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Run N random problems.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of samples and intervals."
)
@click.option("--judge", metavar="MODEL|ARCH", help="The judge, if the benchmark has one.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Published answers to compare with, instead of the benchmark's own baseline.",
)
@click.option("--budget", type=options.UsdParam(), help="Maximum cost in USD, including the judge.")
@options.allow_unpriced_option
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench"),
    show_default=True,
    metavar="FOLDER",
    help="Folder of the results (JSON and Markdown).",
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
    """Run the benchmark NAME through an architecture and score it.

    NAME is gsm8k, math, math-500, mmlu, mmlu-pro, gpqa, ifeval, humaneval, mbpp, codecontests,
    mt-bench, arena-hard, arena-hard-2, alpaca-eval, mixeval or mixeval-hard; its published
    files are read unchanged. Answers and verdicts are ordinary jobs: the same command again
    continues where it stopped and pays for nothing twice.
    """
    settings = options.load_settings()
    benchmark = BENCHMARKS[name]()
    files = _read_files(benchmark, data, baseline)
    problems = benchmark.problems(files.records, seed)
    if not problems:
        raise InputError(f"{name}: {data} holds none of its problems")
    sample = benchmark_steps.BenchmarkSample(
        benchmark, files.records, sample_problems(problems, limit, seed), seed
    )
    _validate_references(sample)
    with run_context(settings) as report:
        judge_settings = _judge_settings(benchmark, judge, report, allow_unpriced=allow_unpriced)
        architecture, prices = load_priced(arch, allow_unpriced=allow_unpriced, report=report)
        require_ready(settings, architecture, report)
        _validate_output_folder(output)

        benchmark_run = BenchmarkRun(settings, sample, budget, report)
        try:
            jobs, answers = benchmark_run.run_turns(architecture, prices)
            batch = benchmark_steps.build_judge_batch(sample, answers)
            judge_job = (
                None
                if judge_settings is None or not (batch and batch.cases)
                else benchmark_run.run_judge(judge_settings, batch, jobs)
            )
        except UnfinishedJobError as error:
            stderr.print(f"not scored yet: {error}; the same command continues")
            return result_status(error.result) or 1
    figures = {
        **benchmark_run.record_scores(jobs, answers, batch, judge_job),
        "published": len(problems),
        "data": dict(files.digests),
        "architecture": architecture.name,
        "judge": None if judge_job is None else {"name": judge, **benchmark_run.usage([judge_job])},
    }
    label = re.sub(r"[^\w.-]+", "-", architecture.name)
    path = output / f"{name}-{label}-{jobs[0].id}"
    written = _write_results(path, figures)
    if as_json:
        print_json(figures)
    else:
        _print(figures)
        stderr.print(f"results are in {' and '.join(written)}")
    return 1 if figures["failed"] else 0


def _read_files(benchmark: Benchmark, data: Path, baseline: Path | None) -> BenchmarkFiles:
    names = {part.name for part in benchmark.file_sets}
    if baseline is not None and "baseline" not in names:
        raise InputError(f"--baseline: {benchmark.name} compares with no answers")
    return read_benchmark_files(
        data, benchmark.file_sets, {} if baseline is None else {"baseline": baseline}
    )


def _validate_references(run: benchmark_steps.BenchmarkSample) -> None:
    """Raise, before anything is paid for, if the answers could not be measured afterwards."""
    measured = [problem for problem in run.problems if not run.benchmark.needs_judge(problem)]
    if not measured:
        return
    metric = run.benchmark.make_metric()
    references = []
    for problem in measured:
        try:
            references.append(metric.parse_reference(problem.reference))
        except ValueError as error:
            why = f"{metric.name} wants {error}; found {problem.reference!r:.80}"
            raise InputError(f"{run.benchmark.name}: problem {problem.id}: {why}") from None
    try:
        # One that needs what is not installed says so when it is used.
        metric.score("0", references[0])
    except ModuleNotFoundError as error:
        raise InputError(str(error)) from None


def _judge_settings(
    benchmark: Benchmark, judge: str | None, report: Report, *, allow_unpriced: bool
) -> JudgeSettings | None:
    """The settings of the judge, validated before anything is paid."""
    if benchmark.scale is None:
        if judge is not None:
            raise InputError(f"--judge: {benchmark.name} is measured without a judge")
        return None
    if judge is None:
        raise InputError(f"--judge: {benchmark.name} wants a model or an architecture that judges")
    settings = JudgeSettings(judge, None, allow_unpriced)
    judge_architecture(settings, benchmark.scale, report)
    return settings


def _validate_output_folder(folder: Path) -> None:
    try:
        private_files.make_private_dir(folder)
    except OSError as error:
        raise InputError(f"--output: {folder}: {(error.strerror or str(error)).lower()}") from None


def _write_results(path: Path, figures: Mapping[str, Any]) -> Sequence[str]:
    """Both files; the same jobs write the same names again."""
    texts = {
        ".json": json.dumps(figures, indent=2, ensure_ascii=False) + "\n",
        ".md": benchmark_steps.to_markdown(figures),
    }
    try:
        for suffix, text in texts.items():
            beside = path.with_name(path.name + suffix)
            with private_files.open_private(beside, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return [f"{path}{suffix}" for suffix in texts]


def _print(figures: Mapping[str, Any]) -> None:
    figure = figures["figure"]
    echo(f"{figures['title']}: {figures['architecture']}")
    rows = [(figure["name"], *_figure_cells(figure))]
    rows += [(name, _format_number(value), "", "") for name, value in figures["figures"].items()]
    print_table(("figure", "value", "95 % interval", "n"), rows)
    for field, groups in figures["by"].items():
        echo()
        of_each = [(name, *_figure_cells(group)) for name, group in groups.items()]
        print_table((field, figure["name"], "95 % interval", "n"), of_each)
    echo()
    if unparsed := figures["unparsed"]:
        reasons = list(figures["unparsed_reasons"].items())[:_MAX_SHOWN]
        echo(f"{unparsed:,} unparsed: " + "; ".join(f"{n:,} x {why}" for why, n in reasons))
    if figures["failed"]:
        echo(f"{figures['failed']:,} failed, which count as the lowest score")
    if flagged := figures["flagged"]:
        ids = ", ".join(flagged[:_MAX_SHOWN])
        echo(f"{len(flagged):,} may address the judge; check {ids}")
    echo(f"{format_usd(figures['usd'])} paid for {figures['calls']:,} calls")
    if judge := figures["judge"]:
        echo(f"{format_usd(judge['usd'])} paid for judging by {judge['name']}")


def _figure_cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    if figure["value"] is None:
        return "-", "", "0"
    return (
        f"{figure['value']:.2f}",
        f"{figure['low']:.2f} to {figure['high']:.2f}",
        f"{figure['n']:,}",
    )


def _format_number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
