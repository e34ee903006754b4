"""The figures of a job's portrait: gathered in two passes over the job, in bounded memory."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from archon_batch.archon import nearest
from archon_batch.errors import InputError
from archon_batch.evaluation import Mean, Score, mean
from archon_batch.html_report.agreement import Reader, Said, reader_of, said
from archon_batch.html_report.call_tree import tree
from archon_batch.html_report.duration_histogram import Spread
from archon_batch.html_report.extremes import Pick, Picks
from archon_batch.jobs import views
from archon_batch.store import Ending, Job, Outcome, Store

#: Rows that are read together.
_CHUNK = 500
#: Rows whose candidates are compared at the most: to read a text takes longer than all the rest.
_COMPARED = 10_000


@dataclass(slots=True)
class Marks:
    """The scores of a job under one metric."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    #: Answers in which there was nothing to compare; by the metric they are wrong, or unscored.
    unread: int = 0
    unscored: int = 0

    @property
    def mean(self) -> Mean | None:
        return mean(self.values)

    def add(self, score: Score) -> None:
        self.unread += score.unread is not None
        if score.value is None:
            self.unscored += 1
        else:
            self.values.append(score.value)


@dataclass(slots=True)
class Agreement:
    """How far candidates said the same, over all rows that have two or more."""

    #: How they were compared, in words.
    told: str
    #: Each so many-th row is looked at.
    stride: int = 1
    #: Rows by band; rows with a score, and the sum of the scores.
    rows: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
    points: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: Candidates by model, and those that say what their row's answer says.
    made: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)

    def add(self, found: Said, value: float | None) -> None:
        for model, (made, alike) in found.models.items():
            self.made[model] += made
            self.alike[model] += alike
        if found.share is None:
            return
        self.rows[found.band] += 1
        if value is not None:
            self.scored[found.band] += 1
            self.points[found.band] += value


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted in one pass over the rows."""

    #: By metric.
    marks: Mapping[str, Marks]
    agreement: Agreement
    picks: Picks


@dataclass(frozen=True, slots=True)
class Figures:
    #: As ``status --json`` has it.
    status: Mapping[str, Any]
    #: As ``cost --by component --json`` has it.
    components: Sequence[Mapping[str, Any]]
    #: The architecture's layers, each its components as they are written.
    layers: Sequence[Sequence[Mapping[str, Any]]]
    models: Mapping[str, str]
    tally: Tally
    #: The metric that rows are put in order by.
    metric: str | None
    seconds: Mapping[tuple[int, int, str], Spread]
    outcomes: Sequence[Outcome]
    #: How rows ended without an answer: status, reason and number.
    reasons: Sequence[tuple[str, str | None, int]]
    worst: Sequence[Mapping[str, Any]]
    best: Sequence[Mapping[str, Any]]


def figures(store: Store, job: Job, *, shown: int, metric: str | None) -> Figures:
    """All that the portrait tells.

    Args:
        store: where the job is.
        job: it may be under way.
        shown: how many of the best rows, and of the worst, are told in full.
        metric: what to put the rows in order by; None is the first that there are scores of.

    Raises:
        InputError: the job has no scores under that metric.
    """
    metrics = store.scores.metrics(job.id)
    if metric is None:
        metric = next(iter(metrics), None)
    elif metric not in metrics:
        known = nearest(metric, metrics) if metrics else "archon-batch score makes them"
        raise InputError(f"{job.name} has no scores under {metric!r}; {known}")
    tally = _tallied(store, job, metrics, shown=shown, metric=metric)
    read, _ = reader_of(job.architecture, metric)
    seconds: defaultdict[tuple[int, int, str], Spread] = defaultdict(Spread)
    for place, took in store.measures.seconds(job.id):
        seconds[place].add(took)
    return Figures(
        status=views.status(store, job),
        components=views.cost(store, job, "component")["by"],
        layers=job.architecture["layers"],
        models={name: m["model"] for name, m in job.architecture.get("models", {}).items()},
        tally=tally,
        metric=metric,
        seconds=dict(seconds),
        outcomes=store.measures.outcomes(job.id),
        reasons=store.items.reasons(job.id),
        worst=[_told(store, job, pick, read) for pick in tally.picks.worst],
        best=[_told(store, job, pick, read) for pick in tally.picks.best],
    )


def _tallied(
    store: Store,
    job: Job,
    metrics: Sequence[str],
    *,
    shown: int,
    metric: str | None,
) -> Tally:
    read, told = reader_of(job.architecture, metric)
    stride = math.ceil(job.rows / _COMPARED) or 1
    tally = Tally({name: Marks() for name in metrics}, Agreement(told, stride), Picks(shown))
    for rows in _chunks(store.endings.all(job.id)):
        first, last = rows[0].ix, rows[-1].ix
        drafts = store.measures.drafts(job.id, first, last, stride)
        of_row: dict[int, Score] = {}
        for one in store.scores.between(job.id, first, last):
            tally.marks[one.metric].add(one.score)
            if one.metric == metric:
                of_row[one.ix] = one.score
        for row in rows:
            if row.status not in ("answered", "given_up"):
                continue
            value = of_row[row.ix].value if row.ix in of_row else None
            found = None
            if row.ix % stride == 0:
                found = said(drafts.get(row.ix, ()), row.answer, read)
                tally.agreement.add(found, value)
            # A row of which nothing tells whether it is good stands in no order.
            if value is not None or (metric is None and (found or row.answer is None)):
                tally.picks.add(Pick(row, value, found))
    return tally


def _told(store: Store, job: Job, pick: Pick, read: Reader) -> Mapping[str, Any]:
    row = pick.ending
    drafts = store.measures.drafts(job.id, row.ix, row.ix).get(row.ix, ())
    return {
        **tree(views.show(store, job, row)),
        "score": pick.score,
        "said": said(drafts, row.answer, read),
    }


def _chunks(endings: Iterator[Ending]) -> Iterator[list[Ending]]:
    while rows := list(islice(endings, _CHUNK)):
        yield rows
