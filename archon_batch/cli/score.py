"""``archon-batch score``."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from archon_batch.application.judge_run import JudgeSettings
from archon_batch.application.run import UnfinishedJobError
from archon_batch.application.score_run import JUDGE_SCALES, ScoreOptions, score_job
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import format_usd, print_json, print_table, stderr
from archon_batch.cli.terminal_page import echo, pluralize
from archon_batch.errors import InputError
from archon_batch.evaluation.scoring import compare_scores, scores_to_json
from archon_batch.money import NanoUsd

#: Number of reasons and rows shown.
_MAX_SHOWN = 3


@click.command()
@click.argument("job")
@click.option(
    "--metric",
    required=True,
    metavar="NAME[:ARG]",
    help="exact, normalized, contains, regex[:PATTERN], choice, number, math, label, "
    "json[:@SCHEMA], code[:SECONDS], judge-single, judge-pairwise, or one of a package's.",
)
@click.option("--reference", metavar="FIELD", help="The row's field with the expected answer.")
@click.option("--by", metavar="FIELD", help="Also show the mean for each value of FIELD.")
@click.option(
    "--compare", metavar="JOB2", help="Also show the difference to another job, row by row."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the confidence intervals."
)
@click.option("--judge", metavar="MODEL|ARCH", help="The judge, for judge-... metrics.")
@click.option("--baseline", metavar="FIELD|JOB2", help="Answers that judge-pairwise compares with.")
@click.option("--budget", type=options.UsdParam(), help="Maximum cost of the judge in USD.")
@options.allow_unpriced_option
@options.json_option
def score(
    job: str,
    metric: str,
    reference: str | None,
    by: str | None,
    compare: str | None,
    seed: int,
    judge: str | None,
    baseline: str | None,
    budget: NanoUsd | None,
    allow_unpriced: bool,
    as_json: bool,
) -> int:
    """Score JOB's answers; show the mean with its confidence interval. Row scores are stored.

    A judge's calls are a job of their own; the same command again continues that job.
    """
    settings = options.load_settings()
    if metric not in JUDGE_SCALES and budget is not None:
        raise InputError(f"--judge, --baseline and --budget are of {', '.join(JUDGE_SCALES)}")
    judge_settings = None if judge is None else JudgeSettings(judge, budget, allow_unpriced)
    score_options = ScoreOptions(metric, reference, baseline, judge_settings)
    try:
        with run_context(settings) as report:
            scores = score_job(settings, job, score_options, report)
            figures = scores_to_json(scores, group_by=by, seed=seed)
            if compare is not None:
                others = score_job(settings, compare, score_options, report)
                figures["compared"] = compare_scores(scores, others, seed)
    except UnfinishedJobError as error:
        stderr.print(f"not scored yet: the judge's {error}; the same command continues it")
        return result_status(error.result) or 1
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    return 0


def _print(figures: dict[str, Any]) -> None:
    echo(f"{figures['name']}: {figures['metric']}")
    echo(_mean_line(figures))
    for line in (*_count_lines(figures), *_cost_lines(figures)):
        echo(line)
    if "compared" in figures:
        other = figures["compared"]
        echo(
            f"against {other['name']}: {_mean_line(other, sign='+')}; "
            f"better in {other['better']:,}, worse in {other['worse']:,}"
        )
    if "confusion" in figures:
        _print_confusion_matrix(figures["confusion"])
    if "by" in figures:
        echo()
        field = next(iter(figures["by"][0]), "") if figures["by"] else ""
        print_table(
            (field, "rows", "mean", "low", "high"),
            [
                (group[field], group["rows"], *(f"{group[k]:.4f}" for k in ("mean", "low", "high")))
                for group in figures["by"]
            ],
        )


def _mean_line(figures: Mapping[str, Any], sign: str = "") -> str:
    if figures["mean"] is None:
        return "no row has a score"
    low, high = (f"{figures[end]:{sign}.4f}" for end in ("low", "high"))
    mean = f"{figures['mean']:{sign}.4f}"
    return f"{mean}, 95 % interval {low} to {high}, {pluralize(figures['rows'], 'row')}"


def _count_lines(figures: dict[str, Any]) -> Iterator[str]:
    if unparsed := figures["unparsed"]:
        counts = figures["unparsed_reasons"]
        hidden = len(counts) - _MAX_SHOWN
        reasons = [f"{n:,} x {reason}" for reason, n in list(counts.items())[:_MAX_SHOWN]]
        more = [f"and {pluralize(hidden, 'other reason')}"] if hidden > 0 else []
        yield f"{unparsed:,} unparsed: {'; '.join(reasons + more)}"
    if failed := figures["failed"]:
        yield f"{pluralize(failed, 'row')} failed"
    if left := figures["open"]:
        yield f"{pluralize(left, 'row')} open or cancelled, without a score"
    if "macro_f1" in figures and figures["macro_f1"] is not None:
        yield f"macro F1 {figures['macro_f1']:.4f}"
    if "won" in figures:
        yield f"won {figures['won']:,}, tied {figures['tied']:,}, lost {figures['lost']:,}"
    if disagreeing := figures.get("orders_disagree"):
        yield f"{disagreeing:,} of the ties have a different winner in each order"
    if flagged := figures.get("flagged"):
        ids = ", ".join(flagged[:_MAX_SHOWN]) + (", ..." if len(flagged) > _MAX_SHOWN else "")
        yield f"{pluralize(len(flagged), 'row')} may address the judge; check {ids}"


def _cost_lines(figures: dict[str, Any]) -> Iterator[str]:
    each = figures["usd_per_point"]
    right = f", {format_usd(each)} for each right answer" if each is not None else ""
    yield f"{format_usd(figures['usd'])} paid for the answers{right}"
    if "judge" in figures:
        judge = figures["judge"]
        paid = format_usd(judge["usd"], judge["unpriced_calls"])
        yield f"{paid} paid for judging, {pluralize(judge['calls'], 'call')}: job {judge['job']}"


def _print_confusion_matrix(confusion: Mapping[str, Mapping[str, int]]) -> None:
    answers = sorted({label for row in confusion.values() for label in row})
    echo()
    print_table(
        ("reference \\ answer", *answers),
        [(label, *(row.get(answer, 0) for answer in answers)) for label, row in confusion.items()],
    )
