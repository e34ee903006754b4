"""Scores a job's answers, row by row, and says what they come to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_batch.archon import nearest
from archon_batch.errors import InputError
from archon_batch.ledger import usd
from archon_batch.scoring import Mean, Metric, Score, Scored, difference, mean
from archon_batch.store import Account, Answered, Job, Store

#: How a row that was given up counts: its question was asked, and has no answer.
_GIVEN_UP = Score(0.0)


@dataclass(frozen=True, slots=True)
class Scores:
    """A job's rows under a metric."""

    job: Job
    metric: Metric
    #: Where each row's reference is.
    field: str
    #: Rows with an end, in the dataset's order.
    rows: Sequence[Scored]
    #: Rows that are open or cancelled: they have no score.
    without_end: int
    account: Account

    @property
    def values(self) -> list[float]:
        return [row.score.value for row in self.rows if row.score.value is not None]


def score(store: Store, job: Job, metric: Metric, field: str) -> Scores:
    """Compare every answer of the job with its row's reference.

    Raises:
        InputError: a row has no such field, or holds in it what the metric cannot use.
    """
    answered = list(store.endings.answers(job.id))
    # All references before the first score: a label is known by those of the other rows.
    references = [_reference(job, row, metric, field) for row in answered]
    rows = [
        Scored(
            row.ix, row.row_id, row.answer, reference, row.extras, _scored(metric, row, reference)
        )
        for row, reference in zip(answered, references, strict=True)
        if row.status in ("answered", "given_up")
    ]
    account = store.accounts.total(job.id)
    return Scores(job, metric, field, rows, len(answered) - len(rows), account)


def told(scores: Scores, *, by: str | None, seed: int) -> dict[str, Any]:
    """What the scores come to: the shape of ``score --json``."""
    total, values = scores.account, scores.values
    exact = None if total.unpriced_calls else usd(total.cost)
    paid = None if exact is None else float(exact)
    points = sum(values)
    return {
        "job": scores.job.id,
        "name": scores.job.name,
        "metric": scores.metric.name,
        "reference": scores.field,
        **_mean(mean(values, seed)),
        "unread": sum(row.score.unread is not None for row in scores.rows),
        "given_up": sum(row.answer is None for row in scores.rows),
        "open": scores.without_end,
        "usd": paid,
        "usd_per_point": paid / points if paid is not None and points else None,
        **scores.metric.summary(scores.rows),
        **({"by": _groups(scores.rows, by, seed)} if by else {}),
    }


def compared(ours: Scores, theirs: Scores, seed: int) -> dict[str, Any]:
    """Ours minus theirs, over the rows that both have, by their ids.

    Raises:
        InputError: no row is in both jobs.
    """
    others = {row.row_id: row.score.value for row in theirs.rows}
    pairs = [
        (row.score.value, other)
        for row in ours.rows
        if row.score.value is not None and (other := others.get(row.row_id)) is not None
    ]
    if not pairs:
        raise InputError(f"{ours.job.id} and {theirs.job.id} have no row in common")
    return {
        "job": theirs.job.id,
        "name": theirs.job.name,
        **_mean(difference([a for a, _ in pairs], [b for _, b in pairs], seed)),
        "better": sum(a > b for a, b in pairs),
        "worse": sum(a < b for a, b in pairs),
    }


def _reference(job: Job, row: Answered, metric: Metric, field: str) -> Any:  # noqa: ANN401
    place = f"{job.id}: row {row.row_id}: {field}"
    if field not in row.extras:
        raise InputError(f"{place}: the row has no such field; {nearest(field, row.extras)}")
    try:
        return metric.prepared(row.extras[field])
    except ValueError as error:
        found = f"{row.extras[field]!r:.80}"
        raise InputError(f"{place}: {metric.name} wants {error}; found {found}") from None


def _scored(metric: Metric, row: Answered, reference: object) -> Score:
    return _GIVEN_UP if row.answer is None else metric.score(row.answer, reference)


def _mean(found: Mean | None) -> dict[str, Any]:
    if found is None:
        return {"rows": 0, "mean": None, "low": None, "high": None}
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def _groups(rows: Iterable[Scored], by: str, seed: int) -> list[Mapping[str, Any]]:
    """The mean of each value that a field of the rows has."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.score.value is not None:
            groups[str(row.extras.get(by))].append(row.score.value)
    return [{by: name, **_mean(mean(values, seed))} for name, values in sorted(groups.items())]
