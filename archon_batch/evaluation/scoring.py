"""Scores a job's answers, row by row, and says what they come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon_batch.archon import suggestion
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric, Score, ScoredRow
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean, paired_difference
from archon_batch.money import to_usd
from archon_batch.store import ItemAnswer, Job, Store, UsageTotals

#: Statuses of rows that have an end, and so a score.
_FINAL_STATUSES = ("answered", "failed")


@dataclass(frozen=True, slots=True)
class JobScores:
    """A job's rows under a metric."""

    job: Job
    #: The metric with all that it goes by: ``number against gold``.
    metric: str
    #: Rows with an end, in the dataset's order.
    rows: Sequence[ScoredRow]
    #: Rows that are open or cancelled: they have no score.
    unfinished_rows: int
    usage: UsageTotals
    #: Figures besides the mean, by their names.
    extra_figures: Mapping[str, Any] = field(default_factory=dict)
    #: Whether values go from 0 to 1, so that they add up to right answers.
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
    """Compare every answer of the job with its row's reference, in ``reference_field``.

    ``recorded_name`` is what the metric is called on record, where it has more to it than its own.

    A row that was given up is worth 0: its question was asked, and has no answer.

    Raises:
        InputError: a row has no such field, or holds in it what the metric cannot use.
    """
    if reference_field is None and metric.needs_reference:
        raise InputError(
            f"{metric.name} wants {metric.expected_reference} in a field of the row: --reference"
        )
    answered = list(store.item_results.answers(job.id))
    # All references before the first score: a label is known by those of the other rows.
    references = [_parse_row_reference(job, row, metric, reference_field) for row in answered]
    rows = [
        ScoredRow(
            row.ix,
            row.row_id,
            row.answer,
            reference,
            row.extras,
            _score_row(metric, row, reference),
        )
        for row, reference in zip(answered, references, strict=True)
        if row.status in _FINAL_STATUSES
    ]
    return JobScores(
        job,
        f"{recorded_name or metric.name} against {reference_field}"
        if reference_field
        else recorded_name or metric.name,
        rows,
        len(answered) - len(rows),
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
    """The job's rows with what judges said of them, by the rows' ids.

    A row that was given up is worth the least that there is; one whose baseline has no answer has
    no score.
    """
    answered = list(store.item_results.answers(job.id))
    none = Score(None, unparsed_reason="the baseline has no answer")
    rows = [
        ScoredRow(
            row.ix,
            row.row_id,
            row.answer,
            None,
            row.extras,
            Score(min_score) if row.answer is None else scores.get(row.row_id, none),
        )
        for row in answered
        if row.status in _FINAL_STATUSES
    ]
    without_end = len(answered) - len(rows)
    account = store.usage.total(job.id)
    return JobScores(
        job, metric, rows, without_end, account, extra_figures, is_fraction=min_score == 0
    )


def scores_to_json(scores: JobScores, *, group_by: str | None, seed: int) -> dict[str, Any]:
    """What the scores come to: the shape of ``score --json``."""
    total, points = scores.usage, sum(scores.values)
    exact = None if total.unpriced_calls else to_usd(total.cost)
    paid = None if exact is None else float(exact)
    counted = scores.is_fraction and paid is not None and points > 0
    unread = Counter(
        row.score.unparsed_reason for row in scores.rows if row.score.unparsed_reason is not None
    )
    return {
        "job": scores.job.id,
        "name": scores.job.name,
        "metric": scores.metric,
        **_mean_to_json(bootstrap_mean(scores.values, seed)),
        "unread": unread.total(),
        "unread_why": dict(unread.most_common()),
        "failed": sum(row.answer is None for row in scores.rows),
        "open": scores.unfinished_rows,
        "usd": paid,
        "usd_per_point": paid / points if counted and paid is not None else None,
        **scores.extra_figures,
        **({"by": _means_by_group(scores, group_by, seed)} if group_by else {}),
    }


def compare_scores(ours: JobScores, theirs: JobScores, seed: int) -> dict[str, Any]:
    """Ours minus theirs, over the rows that have a score in both, by their ids.

    Raises:
        InputError: there is no such row.
    """
    others = {row.row_id: row.score.value for row in theirs.rows}
    pairs = [
        (row.score.value, other)
        for row in ours.rows
        if row.score.value is not None and (other := others.get(row.row_id)) is not None
    ]
    if not pairs:
        raise InputError(f"{ours.job.id} and {theirs.job.id} have no scored row in common")
    return {
        "job": theirs.job.id,
        "name": theirs.job.name,
        **_mean_to_json(paired_difference([a for a, _ in pairs], [b for _, b in pairs], seed)),
        "better": sum(a > b for a, b in pairs),
        "worse": sum(a < b for a, b in pairs),
    }


def _parse_row_reference(job: Job, row: ItemAnswer, metric: Metric, field: str | None) -> Any:  # noqa: ANN401
    if field is None:
        return metric.parse_reference(None)
    if row.answer is None and field not in row.extras:
        # A row that could not be accepted has what it has.
        return None
    place = f"{job.id}: row {row.row_id}: {field}"
    if field not in row.extras:
        raise InputError(f"{place}: the row has no such field; {suggestion(field, row.extras)}")
    try:
        return metric.parse_reference(row.extras[field])
    except ValueError as error:
        found = f"{row.extras[field]!r:.80}"
        raise InputError(f"{place}: {metric.name} wants {error}; found {found}") from None


def _score_row(metric: Metric, row: ItemAnswer, reference: object) -> Score:
    return Score(0.0) if row.answer is None else metric.score(row.answer, reference)


def _mean_to_json(found: MeanEstimate | None) -> dict[str, Any]:
    if found is None:
        return {"rows": 0, "mean": None, "low": None, "high": None}
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def _means_by_group(scores: JobScores, field_name: str, seed: int) -> list[Mapping[str, Any]]:
    """The mean of each value that a field of the rows has.

    Raises:
        InputError: no row has the field.
    """
    if scores.rows and not any(field_name in row.extras for row in scores.rows):
        hint = suggestion(field_name, scores.rows[0].extras)
        raise InputError(f"--by: no row of {scores.job.id} has a field {field_name!r}; {hint}")
    groups: dict[str, list[float]] = defaultdict(list)
    for row in _scored_only(scores.rows):
        groups[_group_name(row.extras.get(field_name))].append(row.score.value or 0.0)
    return [
        {field_name: name, **_mean_to_json(bootstrap_mean(values, seed))}
        for name, values in sorted(groups.items())
    ]


def _scored_only(rows: Iterable[ScoredRow]) -> Iterable[ScoredRow]:
    return (row for row in rows if row.score.value is not None)


def _group_name(value: object) -> str:
    return "-" if value is None else str(value)
