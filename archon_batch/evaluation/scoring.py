"""Scores a job's answers, row by row, and says what they come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon_batch.archon import nearest
from archon_batch.errors import InputError
from archon_batch.evaluation import Mean, Metric, Score, Scored, difference, mean
from archon_batch.money import usd
from archon_batch.store import Account, Answered, Job, Store

#: Statuses of rows that have an end, and so a score.
_ENDS = ("answered", "given_up")


@dataclass(frozen=True, slots=True)
class Scores:
    """A job's rows under a metric."""

    job: Job
    #: The metric with all that it goes by: ``number against gold``.
    metric: str
    #: Rows with an end, in the dataset's order.
    rows: Sequence[Scored]
    #: Rows that are open or cancelled: they have no score.
    without_end: int
    account: Account
    #: Figures besides the mean, by their names.
    figures: Mapping[str, Any] = field(default_factory=dict)
    #: Whether values go from 0 to 1, so that they add up to right answers.
    shares: bool = True

    @property
    def values(self) -> list[float]:
        return [row.score.value for row in self.rows if row.score.value is not None]


def score(
    store: Store, job: Job, metric: Metric, field: str | None, *, name: str | None = None
) -> Scores:
    """Compare every answer of the job with its row's reference, in ``field``.

    ``name`` is what the metric is called on record, where it has more to it than its own.

    A row that was given up is worth 0: its question was asked, and has no answer.

    Raises:
        InputError: a row has no such field, or holds in it what the metric cannot use.
    """
    if field is None and metric.needs_reference:
        raise InputError(f"{metric.name} wants {metric.wants} in a field of the row: --reference")
    answered = list(store.endings.answers(job.id))
    # All references before the first score: a label is known by those of the other rows.
    references = [_reference(job, row, metric, field) for row in answered]
    rows = [
        Scored(
            row.ix, row.row_id, row.answer, reference, row.extras, _scored(metric, row, reference)
        )
        for row, reference in zip(answered, references, strict=True)
        if row.status in _ENDS
    ]
    return Scores(
        job,
        f"{name or metric.name} against {field}" if field else name or metric.name,
        rows,
        len(answered) - len(rows),
        store.accounts.total(job.id),
        metric.summary(rows),
    )


def judged(
    store: Store,
    job: Job,
    metric: str,
    scores: Mapping[str, Score],
    figures: Mapping[str, Any],
    *,
    least: float,
) -> Scores:
    """The job's rows with what judges said of them, by the rows' ids.

    A row that was given up is worth the least that there is; one whose baseline has no answer has
    no score.
    """
    answered = list(store.endings.answers(job.id))
    none = Score(None, unread="the baseline has no answer")
    rows = [
        Scored(
            row.ix,
            row.row_id,
            row.answer,
            None,
            row.extras,
            Score(least) if row.answer is None else scores.get(row.row_id, none),
        )
        for row in answered
        if row.status in _ENDS
    ]
    without_end = len(answered) - len(rows)
    account = store.accounts.total(job.id)
    return Scores(job, metric, rows, without_end, account, figures, shares=least == 0)


def told(scores: Scores, *, by: str | None, seed: int) -> dict[str, Any]:
    """What the scores come to: the shape of ``score --json``."""
    total, points = scores.account, sum(scores.values)
    exact = None if total.unpriced_calls else usd(total.cost)
    paid = None if exact is None else float(exact)
    counted = scores.shares and paid is not None and points > 0
    unread = Counter(row.score.unread for row in scores.rows if row.score.unread is not None)
    return {
        "job": scores.job.id,
        "name": scores.job.name,
        "metric": scores.metric,
        **_mean(mean(scores.values, seed)),
        "unread": unread.total(),
        "unread_why": dict(unread.most_common()),
        "given_up": sum(row.answer is None for row in scores.rows),
        "open": scores.without_end,
        "usd": paid,
        "usd_per_point": paid / points if counted and paid is not None else None,
        **scores.figures,
        **({"by": _groups(scores, by, seed)} if by else {}),
    }


def compared(ours: Scores, theirs: Scores, seed: int) -> dict[str, Any]:
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
        **_mean(difference([a for a, _ in pairs], [b for _, b in pairs], seed)),
        "better": sum(a > b for a, b in pairs),
        "worse": sum(a < b for a, b in pairs),
    }


def _reference(job: Job, row: Answered, metric: Metric, field: str | None) -> Any:  # noqa: ANN401
    if field is None:
        return metric.prepared(None)
    if row.answer is None and field not in row.extras:
        # A row that could not be accepted has what it has.
        return None
    place = f"{job.id}: row {row.row_id}: {field}"
    if field not in row.extras:
        raise InputError(f"{place}: the row has no such field; {nearest(field, row.extras)}")
    try:
        return metric.prepared(row.extras[field])
    except ValueError as error:
        found = f"{row.extras[field]!r:.80}"
        raise InputError(f"{place}: {metric.name} wants {error}; found {found}") from None


def _scored(metric: Metric, row: Answered, reference: object) -> Score:
    return Score(0.0) if row.answer is None else metric.score(row.answer, reference)


def _mean(found: Mean | None) -> dict[str, Any]:
    if found is None:
        return {"rows": 0, "mean": None, "low": None, "high": None}
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def _groups(scores: Scores, by: str, seed: int) -> list[Mapping[str, Any]]:
    """The mean of each value that a field of the rows has.

    Raises:
        InputError: no row has the field.
    """
    if scores.rows and not any(by in row.extras for row in scores.rows):
        hint = nearest(by, scores.rows[0].extras)
        raise InputError(f"--by: no row of {scores.job.id} has a field {by!r}; {hint}")
    groups: dict[str, list[float]] = defaultdict(list)
    for row in _with_score(scores.rows):
        groups[_named(row.extras.get(by))].append(row.score.value or 0.0)
    return [{by: name, **_mean(mean(values, seed))} for name, values in sorted(groups.items())]


def _with_score(rows: Iterable[Scored]) -> Iterable[Scored]:
    return (row for row in rows if row.score.value is not None)


def _named(value: object) -> str:
    return "-" if value is None else str(value)
