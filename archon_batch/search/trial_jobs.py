"""Runs trials as jobs: an architecture on some rows, and the outcome of each row."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from archon_batch.archon import Architecture, Question
from archon_batch.errors import EngineError, InputError
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.scoring import parse_reference_field, score_answers
from archon_batch.jobs.submit import new_job, submit_key, with_context_windows
from archon_batch.money import NanoUsd, Price
from archon_batch.store import Job, NewItem, Store, UsageTotals

#: Runs jobs until none is running; False if the user interrupted.
RunJobs = Callable[[Sequence[Job]], bool]
CostUnit = Literal["usd", "calls", "tokens"]

_ZERO = NanoUsd(0)
#: The fewest shards of a trial, as far as it has rows; the most rows of a shard.
_MIN_SHARDS, _MAX_SHARD_ROWS = 8, 16


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A row, and which of the datasets of the search it is from."""

    id: str
    question: Question
    extras: Mapping[str, object]
    dataset_index: int = 0


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The score and cost of a row; cached calls cost what they would have cost."""

    score: float
    calls: int
    tokens: int
    #: None if a price is unknown.
    usd: float | None

    def cost_in(self, unit: CostUnit) -> float:
        return {"usd": self.usd or 0.0, "calls": self.calls, "tokens": self.tokens}[unit]


#: By row id.
RowOutcomes = dict[str, RowOutcome]


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """The settings that all trials of a search share."""

    search_id: str
    name: str
    dataset: str
    metric: Metric
    #: The field with each row's reference; None for a metric that needs none.
    reference_field: str | None
    prices: Mapping[str, Price | None]
    #: Of the whole search; None is unlimited.
    budget: NanoUsd | None = None


@dataclass(frozen=True, slots=True)
class TrialRequest:
    label: str
    architecture: Architecture
    rows: Sequence[SearchRow]


@dataclass(slots=True)
class CallCounts:
    """Calls of a search."""

    settled: int = 0
    #: Settled from the completion cache.
    cached: int = 0
    #: Calls by model, and those that failed.
    by_model: Counter[str] = field(default_factory=Counter)
    failed_by_model: Counter[str] = field(default_factory=Counter)

    @property
    def paid(self) -> int:
        return self.settled - self.cached

    @property
    def unresponsive_models(self) -> frozenset[str]:
        """The models that replied to none of their calls."""
        return frozenset(
            m for m, calls in self.by_model.items() if calls == self.failed_by_model[m]
        )


class InterruptedSearchError(EngineError):
    """The user interrupted the search; the same command continues it."""

    exit_code = 130


@dataclass
class JobTrialRunner:
    """Runs trials as jobs of the search. A job that exists already is not created again."""

    store: Store
    settings: TrialSettings
    run_jobs: RunJobs
    #: Counts over the jobs that this process requested.
    call_counts: CallCounts = field(default_factory=CallCounts)
    #: Cost of these jobs by id, in nano-dollars: paid, held, and of unknown billing.
    _committed: dict[str, int] = field(default_factory=dict)
    #: Jobs that ``call_counts`` includes.
    _counted_jobs: set[str] = field(default_factory=set)

    @property
    def budget_left(self) -> NanoUsd | None:
        """The budget minus the cost of the jobs requested so far.

        Jobs that a continued search requests later may have been paid before the interruption. They
        do not count yet, so the search takes the same decisions as without the interruption.
        """
        if self.settings.budget is None:
            return None
        return NanoUsd(max(0, self.settings.budget - sum(self._committed.values())))

    def run(
        self, requests: Sequence[TrialRequest], budget_to_keep: NanoUsd = _ZERO
    ) -> list[RowOutcomes]:
        """Run the trials side by side. Rows that the budget does not pay for are missing.

        Args:
            requests: the trials. One that has run on the same rows before is not run again.
            budget_to_keep: the part of the budget that must remain, in nano-dollars.

        Raises:
            InputError: a job is stopped or cancelled, or the metric gives a row no score.
            InterruptedSearchError: the user interrupted the search.
        """
        # Two requests may be the same job, if the best single model wins.
        requested = [self._get_or_create_job(one) for one in requests]
        jobs = list({job.id: job for job in requested}.values())
        self.store.searches.add_jobs(self.settings.search_id, [job.id for job in jobs])
        unfinished = [job for job in jobs if job.state != "done"]
        while unfinished:
            before = len(unfinished)
            self._distribute_budget(unfinished, budget_to_keep)
            if not self.run_jobs(self._reload_jobs(unfinished)):
                raise InterruptedSearchError("interrupted; run the same command to continue")
            ended = [self.store.jobs.get(job.id) for job in unfinished]
            for job in ended:
                if job.state in ("stopped", "cancelled"):
                    raise InputError(f"job {job.id} is {job.state}: {job.reason or 'by the user'}")
            unfinished = [job for job in ended if job.state == "paused"]
            # Money that other jobs left over may pay for these.
            if len(unfinished) == before:
                break
        for job in jobs:
            self._committed[job.id] = _committed_by(self.store.jobs.get(job.id))
        return [self._row_outcomes(job) for job in requested]

    def _distribute_budget(self, jobs: Sequence[Job], budget_to_keep: NanoUsd) -> None:
        """Give each job an equal share of the rest, so that together they cannot overspend."""
        for job, part in zip(jobs, self._budget_shares(len(jobs), budget_to_keep), strict=True):
            budget = None if part is None else NanoUsd(_committed_by(job) + part)
            self.store.jobs.resume(job.id, from_states=["paused", "stopped"], budget=budget)

    def _budget_shares(self, count: int, budget_to_keep: NanoUsd) -> list[int | None]:
        if self.settings.budget is None:
            return [None] * count
        left = self.settings.budget - self.store.searches.committed_cost(self.settings.search_id)
        return [max(0, left - budget_to_keep) // count] * count

    def _reload_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        return [self.store.jobs.get(job.id) for job in jobs]

    def _get_or_create_job(self, request: TrialRequest) -> Job:
        settings, architecture = self.settings, with_context_windows(request.architecture)
        ids = [row.id for row in request.rows]
        new = new_job(
            submit_key("search", settings.search_id, {**architecture.to_dict(), "name": ""}, ids),
            f"{settings.name}/{request.label}"[:200],
            settings.dataset,
            architecture,
            {architecture.model(n).model: None for n in architecture.model_names}
            | {m: p for m, p in settings.prices.items() if m in _model_names(architecture)},
            shard_size=max(1, min(_MAX_SHARD_ROWS, -(-len(ids) // _MIN_SHARDS))),
            # The job sends nothing until it gets its share of the budget.
            budget=None if settings.budget is None else NanoUsd(0),
        )
        items = (NewItem(row.id, row.question, row.extras) for row in request.rows)
        job, _ = self.store.jobs.get_or_create(new, items)
        return job

    def _row_outcomes(self, job: Job) -> RowOutcomes:
        """The outcomes of the finished rows."""
        usage = self.store.usage.including_cached(job.id)
        scores = score_answers(self.store, job, self.settings.metric, self.settings.reference_field)
        self.call_counts.settled += scores.usage.calls
        # A job that is requested again costs nothing the second time.
        counted_before = job.id in self._counted_jobs
        self.call_counts.cached += (
            scores.usage.calls if counted_before else scores.usage.cached_calls
        )
        if not counted_before:
            for names, totals in self.store.usage.by_group(job.id, "model"):
                self.call_counts.by_model[names["model"]] += totals.calls
                self.call_counts.failed_by_model[names["model"]] += totals.failed_calls
        self._counted_jobs.add(job.id)
        outcomes: RowOutcomes = {}
        for row in scores.rows:
            if row.score.value is None:
                why = row.score.unparsed_reason or "no score"
                name = self.settings.metric.name
                raise InputError(f"row {row.row_id}: {name} gives no score: {why}")
            outcomes[row.row_id] = _make_row_outcome(
                row.score.value, usage.get(row.ix, UsageTotals())
            )
        return outcomes


def _committed_by(job: Job) -> int:
    """The cost of the job in nano-dollars: paid, held, and of unknown billing."""
    return job.spent + job.held + job.in_doubt


def _model_names(architecture: Architecture) -> set[str]:
    return {architecture.model(name).model for name in architecture.model_names}


def _make_row_outcome(score: float, totals: UsageTotals) -> RowOutcome:
    tokens = totals.prompt_tokens + totals.completion_tokens
    usd = None if totals.unpriced_calls else totals.cost / 1e9
    return RowOutcome(score, totals.calls, tokens, usd)


def validate_references(
    rows: Sequence[SearchRow], metric: Metric, reference_field: str | None
) -> None:
    """Check that every row has a reference that the metric accepts.

    Args:
        rows: the rows.
        metric: the metric of the search.
        reference_field: the field with the reference; None for a metric that needs none.

    Raises:
        InputError: names the first row without a valid reference, and what the metric expects.
    """
    if reference_field is not None:
        for row in rows:
            parse_reference_field(metric, row.extras, reference_field, f"row {row.id}")


def mean_usd(outcomes: RowOutcomes) -> float | None:
    """USD per row; None without rows or if a price is unknown."""
    known = [o.usd for o in outcomes.values() if o.usd is not None]
    return fmean(known) if known and len(known) == len(outcomes) else None


def mean_calls(outcomes: RowOutcomes) -> float:
    """Calls per row; 0 without rows."""
    return fmean(o.calls for o in outcomes.values()) if outcomes else 0.0


def mean_tokens(outcomes: RowOutcomes) -> float:
    """Tokens per row; 0 without rows."""
    return fmean(o.tokens for o in outcomes.values()) if outcomes else 0.0
