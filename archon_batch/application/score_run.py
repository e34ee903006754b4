"""Scores a job's answers with a metric or a judge, and stores the scores with the answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archon_batch.application.events import Report, ignore
from archon_batch.application.judge_run import JudgeSettings, run_judge_job
from archon_batch.application.open_store import open_store
from archon_batch.archon import SCALES, ScaleName
from archon_batch.errors import InputError
from archon_batch.evaluation.judge_cases import build_judge_batch, judge_figures, read_verdicts
from archon_batch.evaluation.metric_plugins import parse_metric
from archon_batch.evaluation.scoring import JobScores, score_answers, scores_from_verdicts
from archon_batch.jobs.views import usd_number
from archon_batch.settings import Settings
from archon_batch.store import Job, Store

#: The scale of the verdicts of each metric that uses a judge.
JUDGE_SCALES: Mapping[str, ScaleName] = {"judge-single": "rating", "judge-pairwise": "comparison"}
#: Maximum characters of a metric's name in the database.
_MAX_METRIC_CHARS = 300


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What scores a job's answers."""

    #: ``NAME[:ARG]``, or a key of ``JUDGE_SCALES``.
    metric: str
    #: The rows' field with the reference.
    reference: str | None = None
    #: For judge-pairwise: the rows' field, or the job, with the answers to compare with.
    baseline: str | None = None
    #: For the metrics with a judge.
    judge: JudgeSettings | None = None


def score_job(
    settings: Settings, ref: str, score_options: ScoreOptions, report: Report = ignore
) -> JobScores:
    """Score the job of that id or name. A judge's calls are a job of their own.

    Raises:
        InputError: the metric, the reference, the judge or the baseline is missing or invalid.
        UnfinishedJobError: the judge's job ended before it was done; calling this again continues.
    """
    metric = score_options.metric
    if metric in JUDGE_SCALES:
        if score_options.judge is None:
            raise InputError(f"--judge: {metric} wants a model or an architecture that judges")
        return _score_with_judge(settings, ref, score_options, score_options.judge, report)
    if (score_options.judge, score_options.baseline) != (None, None):
        raise InputError(f"--judge, --baseline and --budget are of {', '.join(JUDGE_SCALES)}")
    parsed = parse_metric(metric)
    with open_store(settings) as store:
        job = store.jobs.find(ref)
        scores = score_answers(store, job, parsed, score_options.reference, recorded_name=metric)
        return _store_scores(store, scores)


def _score_with_judge(
    settings: Settings,
    ref: str,
    score_options: ScoreOptions,
    judge: JudgeSettings,
    report: Report,
) -> JobScores:
    metric, baseline = score_options.metric, score_options.baseline
    if (baseline is None) == (metric == "judge-pairwise"):
        raise InputError("--baseline FIELD|JOB2 is what judge-pairwise compares with")
    scale = JUDGE_SCALES[metric]
    with open_store(settings) as store:
        job = store.jobs.find(ref)
        batch = build_judge_batch(
            store, job, scale, baseline=baseline, reference_field=score_options.reference
        )
    judge_job = run_judge_job(settings, f"{job.name}-{metric}", batch, judge, report)
    with open_store(settings) as store:
        verdicts = read_verdicts(store, judge_job, scale)
        figures = {"judge": _judge_cost(store, judge_job), **judge_figures(batch, verdicts)}
        against = f" against {baseline}" if baseline else ""
        name = f"{metric} by {judge.judge}{against}"
        min_score = 0.0 if baseline else min(SCALES[scale].values())
        row_scores = batch.scores(verdicts)
        return _store_scores(
            store, scores_from_verdicts(store, job, name, row_scores, figures, min_score=min_score)
        )


def _store_scores(store: Store, scores: JobScores) -> JobScores:
    rows = {row.ix: row.score for row in scores.rows}
    store.scores.replace(scores.job.id, scores.metric[:_MAX_METRIC_CHARS], rows)
    return scores


def _judge_cost(store: Store, job: Job) -> dict[str, Any]:
    usage = store.usage.total(job.id)
    return {
        "job": job.id,
        "name": job.name,
        "calls": usage.calls,
        "usd": usd_number(usage.cost),
        "unpriced_calls": usage.unpriced_calls,
    }
