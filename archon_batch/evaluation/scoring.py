"""Scores the answers of a job by a metric or by verdicts of a judge, and summarises the scores."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon_batch.archon import suggestion
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric, ScoredRow
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean, paired_difference
from archon_batch.scores import Score
from archon_batch.store import ItemAnswer, Job, Store, UsageTotals

#: Statuses of finished rows, which get a score.
_FINAL_STATUSES = ("answered", "failed")


@dataclass(frozen=True, slots=True)
class JobScores:
    """The scores of a job's rows under one metric."""

    job: Job
    #: The metric with its reference field: ``number against gold``.
    metric: str
    #: Finished rows, in the order of the dataset.
    rows: Sequence[ScoredRow]
    #: Open and cancelled rows, which have no score.
    unfinished_rows: int
    usage: UsageTotals
    #: Figures besides the mean, by name.
    extra_figures: Mapping[str, Any] = field(default_factory=dict)
    #: Whether scores range from 0 to 1, so that their sum counts correct answers.
    is_fraction: bool = True

    @property
    def values(self) -> list[float]:
        return [row.score.value for row in self.rows if row.score.value is not None]


def score_answers(
    store: Store,
    job: Job,
    metric: Metric,
    reference_field: str | None,
    *,
    recorded_name: str | None = None,
) -> JobScores:
    """Score every answer of the job by the metric. A failed row scores 0.

    Args:
        store: has the job.
        job: its finished rows are scored.
        metric: scores an answer against a reference.
        reference_field: the rows' field with the reference; None if the metric needs none.
        recorded_name: the name to store the scores under, if it is more than the metric's own.

    Raises:
        InputError: a row has no such field, or the metric cannot use its value.
    """
    if reference_field is None and metric.needs_reference:
        raise InputError(
            f"{metric.name} needs {metric.expected_reference} in a field of the row: --reference"
        )
    answers = list(store.item_results.answers(job.id))
    # Parse all references before scoring: the labels of all rows are the possible labels.
    references = {
        row.ix: _parse_row_reference(job, row, metric, reference_field) for row in answers
    }
    rows = [
        _scored_row(row, references[row.ix], _score_row(metric, row, references[row.ix]))
        for row in answers
        if row.status in _FINAL_STATUSES
    ]
    name = recorded_name or metric.name
    return JobScores(
        job,
        f"{name} against {reference_field}" if reference_field else name,
        rows,
        len(answers) - len(rows),
        store.usage.total(job.id),
        metric.summary(rows),
    )


def scores_from_verdicts(
    store: Store,
    job: Job,
    metric: str,
    scores: Mapping[str, Score],
    extra_figures: Mapping[str, Any],
    *,
    min_score: float,
) -> JobScores:
    """The scores that a judge gave the job's answers, by row id.

    A failed row gets ``min_score``. A row without a baseline answer has no score.
    """
    answers = list(store.item_results.answers(job.id))
    no_baseline = Score(None, unparsed_reason="the baseline has no answer")
    rows = [
        _scored_row(
            row,
            None,
            Score(min_score) if row.answer is None else scores.get(row.row_id, no_baseline),
        )
        for row in answers
        if row.status in _FINAL_STATUSES
    ]
    return JobScores(
        job,
        metric,
        rows,
        len(answers) - len(rows),
        store.usage.total(job.id),
        extra_figures,
        is_fraction=min_score == 0,
    )


def scores_to_json(scores: JobScores, *, group_by: str | None, seed: int) -> dict[str, Any]:
    """The summary of the scores in the shape of ``score --json``.

    Raises:
        InputError: no row has the field ``group_by``.
    """
    total, points = scores.usage, sum(scores.values)
    usd = None if total.unpriced_calls else total.cost / 1e9
    has_price_per_point = scores.is_fraction and points > 0
    unparsed = Counter(
        row.score.unparsed_reason for row in scores.rows if row.score.unparsed_reason is not None
    )
    return {
        "job": scores.job.id,
        "name": scores.job.name,
        "metric": scores.metric,
        **_mean_to_json(bootstrap_mean(scores.values, seed)),
        "unparsed": unparsed.total(),
        "unparsed_reasons": dict(unparsed.most_common()),
        "failed": sum(row.answer is None for row in scores.rows),
        "open": scores.unfinished_rows,
        "usd": usd,
        "usd_per_point": usd / points if has_price_per_point and usd is not None else None,
        **scores.extra_figures,
        **({"by": _means_by_group(scores, group_by, seed)} if group_by else {}),
    }


def compare_scores(scores: JobScores, other: JobScores, seed: int) -> dict[str, Any]:
    """The mean of ``scores`` minus ``other`` over the rows that both score, matched by id.

    Raises:
        InputError: the jobs have no scored row in common.
    """
    other_values = {row.row_id: row.score.value for row in other.rows}
    pairs = [
        (row.score.value, value)
        for row in scores.rows
        if row.score.value is not None and (value := other_values.get(row.row_id)) is not None
    ]
    if not pairs:
        raise InputError(f"{scores.job.id} and {other.job.id} have no scored row in common")
    return {
        "job": other.job.id,
        "name": other.job.name,
        **_mean_to_json(paired_difference([a for a, _ in pairs], [b for _, b in pairs], seed)),
        "better": sum(a > b for a, b in pairs),
        "worse": sum(a < b for a, b in pairs),
    }


def parse_reference_field(
    metric: Metric, extras: Mapping[str, Any], reference_field: str, location: str
) -> Any:  # noqa: ANN401  (each metric has its own type)
    """The reference of a row, as the metric parses it.

    Args:
        metric: parses the reference.
        extras: the row's fields besides id and prompt.
        reference_field: the field with the reference.
        location: names the row in errors.

    Raises:
        InputError: the row has no such field, or the metric cannot use its value.
    """
    if reference_field not in extras:
        hint = suggestion(reference_field, extras)
        raise InputError(f"{location}: {reference_field}: the row has no such field; {hint}")
    value = extras[reference_field]
    try:
        return metric.parse_reference(value)
    except ValueError as error:
        why = f"{metric.name} expects {error}; found {value!r:.80}"
        raise InputError(f"{location}: {reference_field}: {why}") from None


def _parse_row_reference(job: Job, row: ItemAnswer, metric: Metric, field: str | None) -> Any:  # noqa: ANN401
    if field is None:
        return metric.parse_reference(None)
    if row.answer is None and field not in row.extras:
        # A row that the reader rejected may lack any field.
        return None
    return parse_reference_field(metric, row.extras, field, f"{job.id}: row {row.row_id}")


def _score_row(metric: Metric, row: ItemAnswer, reference: object) -> Score:
    return Score(0.0) if row.answer is None else metric.score(row.answer, reference)


def _scored_row(row: ItemAnswer, reference: object, score: Score) -> ScoredRow:
    return ScoredRow(row.ix, row.row_id, row.answer, reference, row.extras, score)


def _mean_to_json(mean: MeanEstimate | None) -> dict[str, Any]:
    if mean is None:
        return {"rows": 0, "mean": None, "low": None, "high": None}
    return mean.to_json()


def _means_by_group(scores: JobScores, field_name: str, seed: int) -> list[Mapping[str, Any]]:
    """The mean for each value of a field of the rows.

    Raises:
        InputError: no row has the field.
    """
    if scores.rows and not any(field_name in row.extras for row in scores.rows):
        hint = suggestion(field_name, scores.rows[0].extras)
        raise InputError(f"--by: no row of {scores.job.id} has a field {field_name!r}; {hint}")
    groups: dict[str, list[float]] = defaultdict(list)
    for row in scores.rows:
        if row.score.value is not None:
            value = row.extras.get(field_name)
            groups["-" if value is None else str(value)].append(row.score.value)
    return [
        {field_name: name, **_mean_to_json(bootstrap_mean(values, seed))}
        for name, values in sorted(groups.items())
    ]
