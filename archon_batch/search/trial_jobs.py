"""Trials: architectures run on some rows as jobs, and what came of each row."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from archon_batch.archon import Architecture, Question, nearest
from archon_batch.errors import EngineError, InputError
from archon_batch.evaluation import Metric
from archon_batch.evaluation.scoring import score
from archon_batch.jobs.submit import width_of, windowed
from archon_batch.money import NanoUsd, Price
from archon_batch.store import Account, Job, NewItem, NewJob, Store

#: Sees jobs through until none of them runs; whether it was not interrupted.
Run = Callable[[Sequence[Job]], bool]
Amount = Literal["usd", "calls", "tokens"]

_NONE = NanoUsd(0)
#: Shards that a trial's rows are spread over at least, and rows of a shard at most.
_SPREAD, _LARGEST = 8, 16


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a search, and which of its datasets it is of."""

    id: str
    question: Question
    extras: Mapping[str, object]
    origin: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row; what it took is what it would have, had nothing been found."""

    score: float
    calls: int
    tokens: int
    #: None where a price is not known.
    usd: float | None

    def took(self, amount: Amount) -> float:
        return {"usd": self.usd or 0.0, "calls": self.calls, "tokens": self.tokens}[amount]


#: By the row's id.
Outcomes = dict[str, Outcome]


@dataclass(frozen=True, slots=True)
class Terms:
    """What all trials of a search have in common."""

    search: str
    name: str
    dataset: str
    metric: Metric
    #: Where each row's reference is; None for a metric that goes by the answer alone.
    reference: str | None
    prices: Mapping[str, Price | None]
    #: For all of the search; None is no bound.
    budget: NanoUsd | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    label: str
    architecture: Architecture
    cases: Sequence[Case]


@dataclass(slots=True)
class Tally:
    """Calls of a search."""

    settled: int = 0
    #: Of these, found among the completions.
    found: int = 0
    #: By model: its calls, and those of them that got no reply.
    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def paid(self) -> int:
        return self.settled - self.found

    @property
    def silent(self) -> frozenset[str]:
        """The models that replied to none of their calls: of their worth nothing is known."""
        return frozenset(m for m, calls in self.asked.items() if calls == self.failed[m])


class InterruptedSearchError(EngineError):
    """Somebody stopped it; the same command goes on."""

    exit_code = 130


@dataclass
class Trials:
    """Makes the jobs of a search, or finds those it made before."""

    store: Store
    terms: Terms
    run_jobs: Run
    #: What the calls of the jobs came to that were asked for here.
    tally: Tally = field(default_factory=Tally)
    #: What each of them has paid, keeps back and may have paid.
    _committed: dict[str, int] = field(default_factory=dict)
    #: Jobs whose calls the tally has.
    _told: set[str] = field(default_factory=set)

    @property
    def left(self) -> NanoUsd | None:
        """What the jobs that were asked for so far have left of the budget.

        Of a search that goes on, jobs that come later may have paid already: it is to end where it
        would have ended, had it not been stopped.
        """
        if self.terms.budget is None:
            return None
        return NanoUsd(max(0, self.terms.budget - sum(self._committed.values())))

    def run(self, wanted: Sequence[Wanted], keep: NanoUsd = _NONE) -> list[Outcomes]:
        """Run them side by side; of what the budget does not reach, rows are missing.

        Args:
            wanted: what is run. An architecture that was run on these rows before is found.
            keep: what is not to be spent of the budget, in nano-dollars.

        Raises:
            InputError: a provider's verdict stopped a job; or a row has no score.
            InterruptedSearchError: somebody stopped it.
        """
        # The best single model may be the winner too: one job, and not two.
        made = [self._made(one) for one in wanted]
        jobs = list({job.id: job for job in made}.values())
        self.store.searches.own(self.terms.search, [job.id for job in jobs])
        unfinished = [job for job in jobs if job.state != "done"]
        while unfinished:
            before = len(unfinished)
            self._share(unfinished, keep)
            if not self.run_jobs(self._running(unfinished)):
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
            self._committed[job.id] = _own(self.store.jobs.get(job.id))
        return [self._outcomes(job) for job in made]

    def _share(self, jobs: Sequence[Job], keep: NanoUsd) -> None:
        """Give each an equal part of what is left: together they cannot spend more."""
        for job, part in zip(jobs, self._parts(len(jobs), keep), strict=True):
            budget = None if part is None else NanoUsd(_own(job) + part)
            self.store.jobs.set_going(job.id, only_from=["paused", "stopped"], budget=budget)

    def _parts(self, count: int, keep: NanoUsd) -> list[int | None]:
        if self.terms.budget is None:
            return [None] * count
        left = self.terms.budget - self.store.searches.committed(self.terms.search)
        return [max(0, left - keep) // count] * count

    def _running(self, jobs: Sequence[Job]) -> list[Job]:
        return [self.store.jobs.get(job.id) for job in jobs]

    def _made(self, wanted: Wanted) -> Job:
        terms, architecture = self.terms, windowed(wanted.architecture)
        frozen = architecture.as_data()
        ids = [case.id for case in wanted.cases]
        identity = json.dumps(["search", terms.search, {**frozen, "name": ""}, ids], sort_keys=True)
        shard = max(1, min(_LARGEST, -(-len(ids) // _SPREAD)))
        new = NewJob(
            submit_key=hashlib.sha256(identity.encode()).hexdigest(),
            name=f"{terms.name}/{wanted.label}"[:200],
            dataset=terms.dataset,
            architecture=frozen,
            prices={architecture.model(n).model: None for n in architecture.model_names}
            | {m: p for m, p in terms.prices.items() if m in _models(architecture)},
            options={"reuse": True, "windows": dict(architecture.windows)},
            shard=shard,
            width=width_of(shard),
            # Nothing is sent before it has its part of the search's.
            budget=None if terms.budget is None else NanoUsd(0),
        )
        items = (NewItem(c.id, c.question, c.extras) for c in wanted.cases)
        job, _ = self.store.jobs.add(new, items)
        return job

    def _outcomes(self, job: Job) -> Outcomes:
        """What came of the rows that have an end."""
        accounts = self.store.accounts.in_full(job.id)
        found = score(self.store, job, self.terms.metric, self.terms.reference)
        self.tally.settled += found.account.calls
        # Whoever asks for a job again pays for none of it.
        known = job.id in self._told
        self.tally.found += found.account.calls if known else found.account.cached_calls
        if not known:
            for names, account in self.store.accounts.by(job.id, "model"):
                self.tally.asked[names["model"]] += account.calls
                self.tally.failed[names["model"]] += account.failed_calls
        self._told.add(job.id)
        outcomes: Outcomes = {}
        for row in found.rows:
            if row.score.value is None:
                why = row.score.unread or "no score"
                raise InputError(f"row {row.row_id}: {self.terms.metric.name} gives none: {why}")
            outcomes[row.row_id] = _outcome(row.score.value, accounts.get(row.ix, Account()))
        return outcomes


def _own(job: Job) -> int:
    return job.spent + job.reserved + job.in_doubt


def _models(architecture: Architecture) -> set[str]:
    return {architecture.model(name).model for name in architecture.model_names}


def _outcome(value: float, account: Account) -> Outcome:
    tokens = account.prompt_tokens + account.completion_tokens
    usd = None if account.unpriced_calls else account.cost / 1e9
    return Outcome(value, account.calls, tokens, usd)


def refuse_unscorable(cases: Sequence[Case], metric: Metric, reference: str | None) -> None:
    """Refuse rows whose reference is not there, or is not what the metric wants.

    Args:
        cases: the rows.
        metric: which scores them.
        reference: the rows' field; None for a metric that goes by the answer alone.

    Raises:
        InputError: the first of them, with what would do.
    """
    if reference is None:
        return
    for case in cases:
        if reference not in case.extras:
            hint = nearest(reference, case.extras)
            raise InputError(f"row {case.id}: {reference}: the row has no such field; {hint}")
        try:
            metric.prepared(case.extras[reference])
        except ValueError as error:
            found = f"{case.extras[reference]!r:.80}"
            why = f"{metric.name} wants {error}; found {found}"
            raise InputError(f"row {case.id}: {reference}: {why}") from None


def mean_usd(outcomes: Outcomes) -> float | None:
    """USD a row; None where a price is not known or there is no row."""
    known = [o.usd for o in outcomes.values() if o.usd is not None]
    return fmean(known) if known and len(known) == len(outcomes) else None


def mean_calls(outcomes: Outcomes) -> float:
    """Calls a row; 0 where there is none."""
    return fmean(o.calls for o in outcomes.values()) if outcomes else 0.0


def mean_tokens(outcomes: Outcomes) -> float:
    return fmean(o.tokens for o in outcomes.values()) if outcomes else 0.0
