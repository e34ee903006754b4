"""A model of the ledger: predicts every admission, and computes every total from its own records.

It implements the rules a second time, as users know them, and shares only types with the code under
test.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

from archon_batch.archon import Answer, Call, Failed, Usage
from archon_batch.errors import (
    CallTimeoutError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RefusedError,
    UnreachableError,
)
from archon_batch.money import Price
from archon_batch.store import (
    Admission,
    Admitted,
    AlreadySettled,
    AttemptRequest,
    BudgetExhausted,
    BudgetWait,
    CacheHit,
    DuplicateInFlight,
    JobNotRunning,
    PoisonPill,
    UsageTotals,
)

#: What docs/operate.md promises of one call: attempts, failures in doubt, dead processes.
MAX_ATTEMPTS, MAX_IN_DOUBT, MAX_PROCESS_DEATHS = 6, 2, 3

#: A call: its job, its item, its key.
CallRow = tuple[str, int, str]


@dataclass(frozen=True)
class Fate:
    """What may become of a request that was sent, and what that means for the bill."""

    outcome: str
    state: str
    error: type[ProviderError] | None = None
    #: Whether the call has then failed for good; None means when it was tried often enough.
    final: bool | None = None

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self.outcome.upper())


ANSWERED = Fate("ok", "billed")
REFUSED = Fate("refused", "not_billed", RefusedError, final=True)
RATE_LIMITED = Fate("rate_limit", "not_billed", RateLimitError)
UNREACHABLE = Fate("unreachable", "not_sent", UnreachableError)
TIMED_OUT = Fate("call_timeout", "in_doubt", CallTimeoutError)
#: Every call would end alike, so the job stops and the call stays open.
NO_QUOTA = Fate("quota", "not_billed", QuotaError, final=False)
#: No result was reported: the process is dead, or the attempt has expired.
DIED = Fate("worker_died", "in_doubt")


@dataclass(frozen=True)
class Response:
    """What comes back of a request in the end."""

    fate: Fate
    text: str | None = None
    #: As the provider counts them, if it tells.
    usage: Usage = field(default_factory=Usage)


@dataclass
class ModelAttempt:
    """An attempt that was let out."""

    start: AttemptRequest
    call: Call
    price: Price | None
    n: int
    #: Attempts of the call so far, with this one, and those before it that are in doubt.
    tried: int
    doubts: int
    #: Those before it that a rate limit turned away, which use up nothing.
    refused: int
    state: str = "sending"
    outcome: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: int | None = None
    estimated: bool = False
    #: Since it began, nobody has asked for the row to be tried anew.
    counts: bool = True

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text("/".join(map(str, (*self.start.call.as_tuple, self.n))))

    @property
    def most(self) -> int:
        """What was kept back for it."""
        return self.start.hold or 0

    @property
    def billed_at_most(self) -> int:
        """What the provider may have put on its bill, however it counts."""
        if self.price is None or self.state in ("not_sent", "not_billed"):
            return 0
        if self.state == "billed" and not self.estimated:
            return charge(self.price, self.usage)
        # A token a byte, three more for each message and three for the reply to begin with.
        prompt = 3 + sum(3 + len(m.content.encode()) for m in self.call.messages)
        counts = (Usage(prompt, self.call.max_tokens, cached) for cached in (0, prompt))
        return max(charge(self.price, usage) for usage in counts)


@dataclass(frozen=True)
class ModelReply:
    """The stored reply of a call, and the request that it answers."""

    start: AttemptRequest
    text: str | None = None
    failed: bool = False
    found: bool = False
    saved: int | None = None

    @property
    def says_something(self) -> bool:
        return bool(self.text and self.text.strip())


@dataclass
class ModelItem:
    status: str = "open"
    answer: str | None = None
    reason: str | None = None
    #: Rows that could not be accepted have nothing to ask, and stay given up.
    accepted: bool = True
    #: What later layers ask depends on what they are shown, which a retry may change.
    wording: int = 0


@dataclass
class ModelJob:
    reuse: bool
    budget: int | None
    items: list[ModelItem]
    state: str = "running"
    #: What may be committed: the budget, or what was committed already when it was lowered.
    ceiling: int | None = None


@dataclass
class LedgerModel:
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    tries: dict[CallRow, list[ModelAttempt]] = field(default_factory=lambda: defaultdict(list))
    replies: dict[CallRow, ModelReply] = field(default_factory=dict)
    #: By fingerprint: what was answered first, and what that cost.
    completions: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def all(self, *states: str, job: str | None = None) -> Iterator[ModelAttempt]:
        """Attempts in one of the states, or in any; of one job, or of all."""
        for (of, _, _), tries in self.tries.items():
            if job in (None, of):
                yield from (t for t in tries if not states or t.state in states)

    # Money.

    def spent(self, job: str) -> int:
        return sum(t.cost or 0 for t in self.all("billed", job=job))

    def held(self, job: str) -> int:
        return sum(t.most for t in self.all("sending", job=job))

    def in_doubt(self, job: str) -> int:
        return sum(t.most for t in self.all("in_doubt", job=job))

    def committed(self, job: str) -> int:
        return self.spent(job) + self.held(job) + self.in_doubt(job)

    def bill(self, job: str) -> int:
        """The most that the providers may want to be paid."""
        return sum(t.billed_at_most for t in self.all(job=job))

    def set_budget(self, job: str, budget: int | None) -> None:
        book = self.jobs[job]
        book.budget = budget
        book.ceiling = None if budget is None else max(budget, self.committed(job))

    # Attempts.

    def verdict(self, start: AttemptRequest) -> Admission:
        """Predict the admission of a request."""
        row, job = start.call.as_tuple, self.jobs[start.call.job_id]
        tries = self.tries[row]
        if row in self.replies:
            return AlreadySettled()
        for attempt in tries:
            if attempt.state == "sending" and attempt.start == start:
                # Its confirmation was lost: it is the same attempt.
                return _started(tries, attempt.n)
        if job.reuse and start.fingerprint in self.completions:
            return CacheHit()
        if job.state != "running":
            return JobNotRunning()
        if sum(t.counts and t.outcome == DIED.outcome for t in tries) >= MAX_PROCESS_DEATHS:
            return PoisonPill()
        wire = {t.start.fingerprint for t in self.all("sending")}
        if any(t.state == "sending" for t in tries) or (job.reuse and start.fingerprint in wire):
            return DuplicateInFlight()
        if job.budget is not None:
            left = job.budget - self.committed(start.call.job_id)
            if left <= 0 or (start.hold or 0) > left:
                return BudgetWait() if self.held(start.call.job_id) else BudgetExhausted()
        return _started(tries, len(tries) + 1)

    def began(self, start: AttemptRequest, call: Call, price: Price | None) -> Admission:
        """Record the predicted admission of a request and return it."""
        verdict = self.verdict(start)
        row = start.call.as_tuple
        match verdict:
            case Admitted(n, tried, doubts, refused) if n > len(self.tries[row]):
                self.tries[row].append(ModelAttempt(start, call, price, n, tried, doubts, refused))
            case CacheHit():
                text, cost = self.completions[start.fingerprint]
                self.replies[row] = ModelReply(start, text, found=True, saved=cost)
            case PoisonPill():
                self.replies[row] = ModelReply(start, failed=True)
        return verdict

    def ended(self, attempt: ModelAttempt, word: Response) -> None:
        if attempt.state not in ("sending", "in_doubt"):
            # It has ended before: that it is told again changes nothing.
            return
        fate, start = word.fate, attempt.start
        attempt.state, attempt.outcome, attempt.usage = fate.state, fate.outcome, word.usage
        attempt.cost = {"billed": None, "in_doubt": None}.get(fate.state, 0)
        if fate is ANSWERED and attempt.price is not None:
            attempt.estimated = (
                word.usage.prompt_tokens is None or word.usage.completion_tokens is None
            )
            told = attempt.most if attempt.estimated else charge(attempt.price, word.usage)
            attempt.cost = told
        kept = ModelReply(start, word.text, failed=fate is not ANSWERED)
        if attempt.counts and (fate is ANSWERED or self.fails(attempt, fate)):
            self.replies.setdefault(start.call.as_tuple, kept)
        if word.text and kept.says_something:
            self.completions.setdefault(start.fingerprint, (word.text, attempt.cost))

    def fails(self, attempt: ModelAttempt, fate: Fate) -> bool:
        """Whether an attempt that ended so is its call's last."""
        if fate.final is not None:
            return fate.final
        doubts = attempt.doubts + (fate.state == "in_doubt")
        refused = attempt.refused + (fate is RATE_LIMITED)
        return attempt.tried - refused >= MAX_ATTEMPTS or doubts >= MAX_IN_DOUBT

    def recovered(self, dead: Callable[[str], bool], at: datetime) -> int:
        """Put in doubt what nobody will tell the end of; return how many."""
        lost = [
            t
            for t in self.all("sending")
            if dead(t.start.owner)
            or t.start.begun_at + timedelta(seconds=t.start.expires_after) < at
        ]
        for attempt in lost:
            attempt.state, attempt.outcome = DIED.state, DIED.outcome
        return len(lost)

    # Jobs and items.

    def moved(self, job: str, state: str, only_from: Collection[str]) -> bool:
        if self.jobs[job].state not in only_from:
            return False
        self.jobs[job].state = state
        return True

    def item_ended(self, job: str, ix: int, end: Answer | Failed) -> None:
        item = self.jobs[job].items[ix]
        if item.status != "open":
            return
        if isinstance(end, Answer):
            item.status, item.answer = "answered", end.text
        else:
            item.status, item.reason = "failed", f"layer {end.layer}: {end.why}"

    def cancelled(self, job: str) -> None:
        for item in self.jobs[job].items:
            if item.status == "open":
                item.status = "cancelled"

    def reopened(self, job: str, statuses: Collection[str]) -> list[int]:
        """Open items again and forget what failed, and all that was asked on top of it."""
        ixs = [
            ix
            for ix, item in enumerate(self.jobs[job].items)
            if item.accepted and item.status in statuses
        ]
        for ix in ixs:
            replies = {row: kept for row, kept in self.replies.items() if row[:2] == (job, ix)}
            empty = [row for row, kept in replies.items() if not kept.says_something]
            first = min(map(_layer, empty), default=None)
            for row in replies:
                if row in empty or (first is not None and _layer(row) > first):
                    del self.replies[row]
            item = self.jobs[job].items[ix]
            self.jobs[job].items[ix] = ModelItem(wording=item.wording + (first == 0))
            for row, tries in self.tries.items():
                if row[:2] == (job, ix):
                    for attempt in tries:
                        attempt.counts = False
        return ixs

    # Accounts.

    def accounts(
        self, job: str, names: Callable[[AttemptRequest], tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], UsageTotals]:
        """The job's totals by group; ``names`` gives the key of a request's group."""
        sums: dict[tuple[Any, ...], UsageTotals] = defaultdict(UsageTotals)
        for attempt in self.all(job=job):
            in_doubt = attempt.state == "in_doubt"
            sums[names(attempt.start)] += UsageTotals(
                attempts=1,
                unpriced_calls=int(attempt.state == "billed" and attempt.price is None),
                in_doubt=int(in_doubt),
                prompt_tokens=attempt.usage.prompt_tokens or 0,
                completion_tokens=attempt.usage.completion_tokens or 0,
                cost=attempt.cost or 0,
                in_doubt_cost=attempt.most if in_doubt else 0,
            )
        for row, kept in self.replies.items():
            if row[0] == job:
                sums[names(kept.start)] += UsageTotals(
                    calls=1,
                    cached_calls=int(kept.found),
                    failed_calls=int(kept.failed),
                    cache_saved=kept.saved or 0,
                )
        return dict(sums)


def charge(price: Price, usage: Usage) -> int:
    """What a provider wants for so many tokens, in whole nano-dollars."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    # What was read from the provider's cache has a price of its own, if it has one.
    cached = 0 if price.cached is None else min(usage.cached_tokens or 0, prompt)
    nanos = (prompt - cached) * price.input + cached * (price.cached or 0)
    return ceil(Fraction(nanos + completion * price.output, 1_000_000))


def _started(tries: Sequence[ModelAttempt], n: int) -> Admitted:
    before = [t for t in tries if t.counts and t.n < n]
    doubts = sum(t.state == "in_doubt" for t in before)
    return Admitted(n, len(before) + 1, doubts, sum(t.outcome == "rate_limit" for t in before))


def _layer(row: CallRow) -> int:
    return int(row[2].partition(".")[0])
