"""Trials: architectures run on some rows as jobs, and what came of each row."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from archon_batch.archon import Architecture, Question, suggestion
from archon_batch.errors import EngineError, InputError
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.scoring import score_answers
from archon_batch.jobs.submit import new_job, submit_key, with_context_windows
from archon_batch.money import NanoUsd, Price
from archon_batch.store import Job, NewItem, Store, UsageTotals

#: Sees jobs through until none of them runs; whether it was not interrupted.
RunJobs = Callable[[Sequence[Job]], bool]
CostUnit = Literal["usd", "calls", "tokens"]

_ZERO = NanoUsd(0)
#: Shards that a trial's rows are spread over at least, and rows of a shard at most.
_MIN_SHARDS, _MAX_SHARD_ROWS = 8, 16


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A row of a search, and which of its datasets it is of."""

    id: str
    question: Question
    extras: Mapping[str, object]
    dataset_index: int = 0


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What came of a row; what it took is what it would have, had nothing been found."""

    score: float
    calls: int
    tokens: int
    #: None where a price is not known.
    usd: float | None

    def cost_in(self, unit: CostUnit) -> float:
        return {"usd": self.usd or 0.0, "calls": self.calls, "tokens": self.tokens}[unit]


#: By the row's id.
RowOutcomes = dict[str, RowOutcome]


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What all trials of a search have in common."""

    search_id: str
    name: str
    dataset: str
    metric: Metric
    #: Where each row's reference is; None for a metric that goes by the answer alone.
    reference_field: str | None
    prices: Mapping[str, Price | None]
    #: For all of the search; None is no bound.
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
    #: Of these, found among the completions.
    cached: int = 0
    #: By model: its calls, and those of them that got no reply.
    by_model: Counter[str] = field(default_factory=Counter)
    failed_by_model: Counter[str] = field(default_factory=Counter)

    @property
    def paid(self) -> int:
        return self.settled - self.cached

    @property
    def unresponsive_models(self) -> frozenset[str]:
        """The models that replied to none of their calls: of their worth nothing is known."""
        return frozenset(
            m for m, calls in self.by_model.items() if calls == self.failed_by_model[m]
        )


class InterruptedSearchError(EngineError):
    """Somebody stopped it; the same command goes on."""

    exit_code = 130


@dataclass
class JobTrialRunner:
    """Makes the jobs of a search, or finds those it made before."""

    store: Store
    settings: TrialSettings
    run_jobs: RunJobs
    #: What the calls of the jobs came to that were asked for here.
    call_counts: CallCounts = field(default_factory=CallCounts)
    #: What each of them has paid, keeps back and may have paid.
    _committed: dict[str, int] = field(default_factory=dict)
    #: Jobs whose calls the tally has.
    _counted_jobs: set[str] = field(default_factory=set)

    @property
    def budget_left(self) -> NanoUsd | None:
        """What the jobs that were asked for so far have left of the budget.

        Of a search that goes on, jobs that come later may have paid already: it is to end where it
        would have ended, had it not been stopped.
        """
        if self.settings.budget is None:
            return None
        return NanoUsd(max(0, self.settings.budget - sum(self._committed.values())))

    def run(
        self, requests: Sequence[TrialRequest], budget_to_keep: NanoUsd = _ZERO
    ) -> list[RowOutcomes]:
        """Run them side by side; of what the budget does not reach, rows are missing.

        Args:
            requests: what is run. An architecture that was run on these rows before is found.
            budget_to_keep: what is not to be spent of the budget, in nano-dollars.

        Raises:
            InputError: a provider's verdict stopped a job; or a row has no score.
            InterruptedSearchError: somebody stopped it.
        """
        # The best single model may be the winner too: one job, and not two.
        made = [self._get_or_create_job(one) for one in requests]
        jobs = list({job.id: job for job in made}.values())
        self.store.searches.add_jobs(self.settings.search_id, [job.id for job in jobs])
        unfinished = [job for job in jobs if job.state != "done"]
        while unfinished:
            before = len(unfinished)
            self._distribute_budget(unfinished, budget_to_keep)
            if not self.run_jobs(self._reload_jobs(unfinished)):
                raise InterruptedSearchError("interrupted; the same command goes on")
            ended = [self.store.jobs.get(job.id) for job in unfinished]
            for job in ended:
                if job.state in ("stopped", "cancelled"):
                    raise InputError(f"job {job.id} is {job.state}: {job.reason or 'by you'}")
            unfinished = [job for job in ended if job.state == "paused"]
            # What the others left over may do for these.
            if len(unfinished) == before:
                break
        for job in jobs:
            self._committed[job.id] = _committed_by(self.store.jobs.get(job.id))
        return [self._row_outcomes(job) for job in made]

    def _distribute_budget(self, jobs: Sequence[Job], budget_to_keep: NanoUsd) -> None:
        """Give each an equal part of what is left: together they cannot spend more."""
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
        terms, architecture = self.settings, with_context_windows(request.architecture)
        ids = [case.id for case in request.rows]
        new = new_job(
            submit_key("search", terms.search_id, {**architecture.to_dict(), "name": ""}, ids),
            f"{terms.name}/{request.label}"[:200],
            terms.dataset,
            architecture,
            {architecture.model(n).model: None for n in architecture.model_names}
            | {m: p for m, p in terms.prices.items() if m in _model_names(architecture)},
            shard_size=max(1, min(_MAX_SHARD_ROWS, -(-len(ids) // _MIN_SHARDS))),
            # Nothing is sent before it has its part of the search's.
            budget=None if terms.budget is None else NanoUsd(0),
        )
        items = (NewItem(c.id, c.question, c.extras) for c in request.rows)
        job, _ = self.store.jobs.get_or_create(new, items)
        return job

    def _row_outcomes(self, job: Job) -> RowOutcomes:
        """What came of the rows that have an end."""
        accounts = self.store.usage.including_cached(job.id)
        found = score_answers(self.store, job, self.settings.metric, self.settings.reference_field)
        self.call_counts.settled += found.usage.calls
        # Whoever asks for a job again pays for none of it.
        known = job.id in self._counted_jobs
        self.call_counts.cached += found.usage.calls if known else found.usage.cached_calls
        if not known:
            for names, account in self.store.usage.by_group(job.id, "model"):
                self.call_counts.by_model[names["model"]] += account.calls
                self.call_counts.failed_by_model[names["model"]] += account.failed_calls
        self._counted_jobs.add(job.id)
        outcomes: RowOutcomes = {}
        for row in found.rows:
            if row.score.value is None:
                why = row.score.unparsed_reason or "no score"
                raise InputError(f"row {row.row_id}: {self.settings.metric.name} gives none: {why}")
            outcomes[row.row_id] = _make_row_outcome(
                row.score.value, accounts.get(row.ix, UsageTotals())
            )
        return outcomes


def _committed_by(job: Job) -> int:
    return job.spent + job.held + job.in_doubt


def _model_names(architecture: Architecture) -> set[str]:
    return {architecture.model(name).model for name in architecture.model_names}


def _make_row_outcome(value: float, account: UsageTotals) -> RowOutcome:
    tokens = account.prompt_tokens + account.completion_tokens
    usd = None if account.unpriced_calls else account.cost / 1e9
    return RowOutcome(value, account.calls, tokens, usd)


def validate_references(
    rows: Sequence[SearchRow], metric: Metric, reference_field: str | None
) -> None:
    """Refuse rows whose reference is not there, or is not what the metric wants.

    Args:
        rows: the rows.
        metric: which scores them.
        reference_field: the rows' field; None for a metric that goes by the answer alone.

    Raises:
        InputError: the first of them, with what would do.
    """
    if reference_field is None:
        return
    for case in rows:
        if reference_field not in case.extras:
            hint = suggestion(reference_field, case.extras)
            raise InputError(f"row {case.id}: {reference_field}: the row has no such field; {hint}")
        try:
            metric.parse_reference(case.extras[reference_field])
        except ValueError as error:
            found = f"{case.extras[reference_field]!r:.80}"
            why = f"{metric.name} wants {error}; found {found}"
            raise InputError(f"row {case.id}: {reference_field}: {why}") from None


def mean_usd(outcomes: RowOutcomes) -> float | None:
    """USD a row; None where a price is not known or there is no row."""
    known = [o.usd for o in outcomes.values() if o.usd is not None]
    return fmean(known) if known and len(known) == len(outcomes) else None


def mean_calls(outcomes: RowOutcomes) -> float:
    """Calls a row; 0 where there is none."""
    return fmean(o.calls for o in outcomes.values()) if outcomes else 0.0


def mean_tokens(outcomes: RowOutcomes) -> float:
    return fmean(o.tokens for o in outcomes.values()) if outcomes else 0.0
