"""Collects the data of the report in two passes over the job, in bounded memory."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from archon_batch.archon import suggestion
from archon_batch.errors import InputError
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean
from archon_batch.html_report.agreement import (
    AnswerReader,
    RowAgreement,
    choose_reader,
    row_agreement,
)
from archon_batch.html_report.call_tree import call_tree
from archon_batch.html_report.duration_histogram import DurationHistogram
from archon_batch.html_report.extremes import ExtremeRows, RankedRow
from archon_batch.jobs import views
from archon_batch.scores import Score
from archon_batch.store import AttemptOutcomeCount, ItemResult, Job, Store

#: Rows per read.
_CHUNK = 500
#: The most rows whose candidates are compared: extracting values is the slowest part.
_MAX_COMPARED_ROWS = 10_000


@dataclass(slots=True)
class MetricScores:
    """The scores of a job under one metric."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    #: Answers without anything to compare; depending on the metric they score 0 or nothing.
    unparsed: int = 0
    unscored: int = 0

    @property
    def mean(self) -> MeanEstimate | None:
        return bootstrap_mean(self.values)

    def add(self, score: Score) -> None:
        self.unparsed += score.unparsed_reason is not None
        if score.value is None:
            self.unscored += 1
        else:
            self.values.append(score.value)


@dataclass(slots=True)
class AgreementTotals:
    """The agreement of candidates over all rows with two or more."""

    #: What was compared, in words.
    label: str
    #: Every how many rows one is compared.
    stride: int = 1
    #: By band: rows, rows with a score, and the sum of these scores.
    rows_by_band: Counter[str] = field(default_factory=Counter)
    scored_by_band: Counter[str] = field(default_factory=Counter)
    score_sum_by_band: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: By model: candidates, and those that agree with their row's answer.
    candidates_by_model: Counter[str] = field(default_factory=Counter)
    matching_by_model: Counter[str] = field(default_factory=Counter)

    def add(self, agreement: RowAgreement, score: float | None) -> None:
        for model, (candidates, matching) in agreement.by_model.items():
            self.candidates_by_model[model] += candidates
            self.matching_by_model[model] += matching
        if agreement.share is None:
            return
        self.rows_by_band[agreement.band] += 1
        if score is not None:
            self.scored_by_band[agreement.band] += 1
            self.score_sum_by_band[agreement.band] += score


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The results of one pass over the rows."""

    #: By metric.
    metric_scores: Mapping[str, MetricScores]
    agreement: AgreementTotals
    extremes: ExtremeRows


@dataclass(frozen=True, slots=True)
class ReportData:
    #: The output of ``status --json``.
    status: Mapping[str, Any]
    #: The output of ``cost --by component --json``.
    components: Sequence[Mapping[str, Any]]
    #: The architecture's layers: lists of components, as in the file.
    layers: Sequence[Sequence[Mapping[str, Any]]]
    models: Mapping[str, str]
    aggregates: Aggregates
    #: The metric that orders the rows.
    metric: str | None
    durations: Mapping[tuple[int, int, str], DurationHistogram]
    attempt_outcomes: Sequence[AttemptOutcomeCount]
    #: Rows without an answer: status, reason and count.
    failure_reasons: Sequence[tuple[str, str | None, int]]
    worst: Sequence[Mapping[str, Any]]
    best: Sequence[Mapping[str, Any]]


def collect_report_data(
    store: Store, job: Job, *, extreme_rows: int, metric: str | None
) -> ReportData:
    """All data of the report.

    Args:
        store: has the job.
        job: may be running.
        extreme_rows: how many of the best and of the worst rows to show in full.
        metric: the metric that orders the rows; None is the first with scores.

    Raises:
        InputError: the job has no scores under that metric.
    """
    metrics = store.scores.metric_names(job.id)
    if metric is None:
        metric = next(iter(metrics), None)
    elif metric not in metrics:
        known = suggestion(metric, metrics) if metrics else "archon-batch score makes them"
        raise InputError(f"{job.name} has no scores under {metric!r}; {known}")
    tally = _aggregate(store, job, metrics, extreme_rows=extreme_rows, metric=metric)
    read, _ = choose_reader(job.architecture, metric)
    seconds: defaultdict[tuple[int, int, str], DurationHistogram] = defaultdict(DurationHistogram)
    for place, took in store.call_metrics.durations(job.id):
        seconds[place].add(took)
    return ReportData(
        status=views.job_status(store, job),
        components=views.job_cost(store, job, "component")["by"],
        layers=job.architecture["layers"],
        models={name: m["model"] for name, m in job.architecture.get("models", {}).items()},
        aggregates=tally,
        metric=metric,
        durations=dict(seconds),
        attempt_outcomes=store.call_metrics.outcome_counts(job.id),
        failure_reasons=store.items.failure_counts(job.id),
        worst=[_row_details(store, job, pick, read) for pick in tally.extremes.worst],
        best=[_row_details(store, job, pick, read) for pick in tally.extremes.best],
    )


def _aggregate(
    store: Store,
    job: Job,
    metrics: Sequence[str],
    *,
    extreme_rows: int,
    metric: str | None,
) -> Aggregates:
    read, label = choose_reader(job.architecture, metric)
    stride = math.ceil(job.rows / _MAX_COMPARED_ROWS) or 1
    tally = Aggregates(
        {name: MetricScores() for name in metrics},
        AgreementTotals(label, stride),
        ExtremeRows(extreme_rows),
    )
    for rows in _in_chunks(store.item_results.all(job.id)):
        first, last = rows[0].ix, rows[-1].ix
        drafts = store.call_metrics.first_layer_texts(job.id, first, last, stride)
        of_row: dict[int, Score] = {}
        for one in store.scores.between(job.id, first, last):
            tally.metric_scores[one.metric].add(one.score)
            if one.metric == metric:
                of_row[one.ix] = one.score
        for row in rows:
            if row.status not in ("answered", "failed"):
                continue
            value = of_row[row.ix].value if row.ix in of_row else None
            found = None
            if row.ix % stride == 0:
                found = row_agreement(drafts.get(row.ix, ()), row.answer, read)
                tally.agreement.add(found, value)
            # A row without a score or anything else to order it by is left out.
            if value is not None or (metric is None and (found or row.answer is None)):
                tally.extremes.add(RankedRow(row, value, found))
    return tally


def _row_details(store: Store, job: Job, pick: RankedRow, read: AnswerReader) -> Mapping[str, Any]:
    row = pick.item
    drafts = store.call_metrics.first_layer_texts(job.id, row.ix, row.ix).get(row.ix, ())
    return {
        **call_tree(views.item_details(store, job, row)),
        "score": pick.score,
        "agreement": row_agreement(drafts, row.answer, read),
    }


def _in_chunks(results: Iterator[ItemResult]) -> Iterator[list[ItemResult]]:
    while rows := list(islice(results, _CHUNK)):
        yield rows
