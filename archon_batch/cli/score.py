"""``archon-batch score``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from archon_batch.application.judge_run import JudgeSettings, run_judge_job
from archon_batch.application.run import UnfinishedJobError
from archon_batch.archon import SCALES, ScaleName
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import format_usd, print_json, print_table, stderr
from archon_batch.cli.terminal_page import echo, pluralize
from archon_batch.errors import InputError
from archon_batch.evaluation import judge_cases as road
from archon_batch.evaluation.metric_plugins import parse_metric
from archon_batch.evaluation.scoring import (
    JobScores,
    compare_scores,
    scores_from_verdicts,
    scores_to_json,
)
from archon_batch.evaluation.scoring import score_answers as scored
from archon_batch.jobs.views import usd_number
from archon_batch.money import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Job, Store

#: Metrics that ask a judge, and the scale of their verdicts.
_JUDGE_SCALES: Mapping[str, ScaleName] = {"judge-single": "rating", "judge-pairwise": "comparison"}
#: Reasons and rows that are told.
_MAX_SHOWN = 3
#: Characters of what a metric is called on record.
_MAX_METRIC_CHARS = 300


@click.command()
@click.argument("job")
@click.option(
    "--metric",
    required=True,
    metavar="NAME[:ARG]",
    help="exact, normalized, contains, regex[:PATTERN], choice, number, math, label, "
    "json[:@SCHEMA], code[:SECONDS], judge-single, judge-pairwise, or one of a package's.",
)
@click.option("--reference", metavar="FIELD", help="The row's field with what is right.")
@click.option("--by", metavar="FIELD", help="The mean for each value of a field, too.")
@click.option("--compare", metavar="JOB2", help="The difference to another job, row by row.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the intervals.")
@click.option("--judge", metavar="MODEL|ARCH", help="Who judges, for judge-... metrics.")
@click.option(
    "--baseline", metavar="FIELD|JOB2", help="Answers for judge-pairwise to compare with."
)
@click.option("--budget", type=options.UsdParam(), help="The most a judge may spend, in USD.")
@click.option("--allow-unpriced", is_flag=True, help="Take a judge whose price nobody knows.")
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
    """Score JOB's answers: each row's beside its answer, and their mean with its interval.

    A judge's calls are a job of their own, which goes on where it was when it is scored again.
    """
    settings = options.load_settings()
    if metric in _JUDGE_SCALES:
        if judge is None:
            raise InputError(f"--judge: {metric} wants a model or an architecture that judges")
        bench = JudgeSettings(judge, budget, allow_unpriced)
        task: _MetricScorer | _JudgeScorer = _JudgeScorer(
            settings, metric, reference, baseline, bench
        )
    elif (judge, baseline, budget) != (None, None, None):
        raise InputError(f"--judge, --baseline and --budget are of {', '.join(_JUDGE_SCALES)}")
    else:
        task = _MetricScorer(settings, metric, reference)
    try:
        ours = task.score_job(job)
        figures = scores_to_json(ours, group_by=by, seed=seed)
        if compare is not None:
            figures["compared"] = compare_scores(ours, task.score_job(compare), seed)
    except UnfinishedJobError as error:
        stderr.print(f"not scored yet: the judge's {error}; the same command goes on with it")
        return result_status(error.result) or 1
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    return 0


@dataclass(frozen=True, slots=True)
class _MetricScorer:
    """A metric that looks at the answer and the row alone."""

    settings: Settings
    metric: str
    reference: str | None

    def score_job(self, ref: str) -> JobScores:
        metric = parse_metric(self.metric)
        with options.open_store(self.settings) as store:
            job = store.jobs.find(ref)
            return _store_scores(
                store, scored(store, job, metric, self.reference, recorded_name=self.metric)
            )


@dataclass(frozen=True, slots=True)
class _JudgeScorer:
    """A metric that asks a judge."""

    settings: Settings
    metric: str
    reference: str | None
    baseline: str | None
    judge_settings: JudgeSettings

    def score_job(self, ref: str) -> JobScores:
        if (self.baseline is None) == (self.metric == "judge-pairwise"):
            raise InputError("--baseline FIELD|JOB2 is what judge-pairwise compares with")
        scale = _JUDGE_SCALES[self.metric]
        with options.open_store(self.settings) as store:
            job = store.jobs.find(ref)
            docket = road.build_judge_batch(
                store, job, scale, baseline=self.baseline, reference_field=self.reference
            )
        with run_context(self.settings) as report:
            of_judge = run_judge_job(
                self.settings, f"{job.name}-{self.metric}", docket, self.judge_settings, report
            )
        with options.open_store(self.settings) as store:
            verdicts = road.read_verdicts(store, of_judge, scale)
            figures = {
                "judge": _judge_cost(store, of_judge),
                **road.judge_figures(docket, verdicts),
            }
            against = f" against {self.baseline}" if self.baseline else ""
            name = f"{self.metric} by {self.judge_settings.judge}{against}"
            least = 0.0 if self.baseline else min(SCALES[scale].values())
            scores = docket.scores(verdicts)
            return _store_scores(
                store, scores_from_verdicts(store, job, name, scores, figures, min_score=least)
            )


def _store_scores(store: Store, scores: JobScores) -> JobScores:
    """The scores, each beside its answer on record."""
    rows = {row.ix: row.score for row in scores.rows}
    store.scores.replace(scores.job.id, scores.metric[:_MAX_METRIC_CHARS], rows)
    return scores


def _judge_cost(store: Store, job: Job) -> dict[str, Any]:
    account = store.usage.total(job.id)
    return {
        "job": job.id,
        "name": job.name,
        "calls": account.calls,
        "usd": usd_number(account.cost),
        "unpriced_calls": account.unpriced_calls,
    }


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
    if unread := figures["unparsed"]:
        why = figures["unparsed_reasons"]
        some = "; ".join(f"{n:,} x {reason}" for reason, n in list(why.items())[:_MAX_SHOWN])
        more = (
            f"; and {pluralize(len(why) - _MAX_SHOWN, 'other reason')}"
            if len(why) > _MAX_SHOWN
            else ""
        )
        yield f"{unread:,} could not be read: {some}{more}"
    if failed := figures["failed"]:
        yield f"{pluralize(failed, 'row')} failed"
    if left := figures["open"]:
        yield f"{pluralize(left, 'row')} open or cancelled, without a score"
    if "macro_f1" in figures and figures["macro_f1"] is not None:
        yield f"macro F1 {figures['macro_f1']:.4f}"
    if "won" in figures:
        yield f"won {figures['won']:,}, tied {figures['tied']:,}, lost {figures['lost']:,}"
    if contradicted := figures.get("orders_disagree"):
        yield f"{contradicted:,} of the ties have another winner in each order"
    if suspect := figures.get("flagged"):
        some = ", ".join(suspect[:_MAX_SHOWN]) + (", ..." if len(suspect) > _MAX_SHOWN else "")
        yield f"{pluralize(len(suspect), 'row')} may be talking to the judge; look at {some}"


def _cost_lines(figures: dict[str, Any]) -> Iterator[str]:
    each = figures["usd_per_point"]
    right = f", {format_usd(each)} for each right answer" if each is not None else ""
    yield f"{format_usd(figures['usd'])} paid for the answers{right}"
    if "judge" in figures:
        judge = figures["judge"]
        paid = format_usd(judge["usd"], judge["unpriced_calls"])
        yield f"{paid} paid for judging, {pluralize(judge['calls'], 'call')}: job {judge['job']}"


def _print_confusion_matrix(confusion: Mapping[str, Mapping[str, int]]) -> None:
    said = sorted({label for row in confusion.values() for label in row})
    echo()
    print_table(
        ("reference \\ answer", *said),
        [(label, *(row.get(one, 0) for one in said)) for label, row in confusion.items()],
    )
