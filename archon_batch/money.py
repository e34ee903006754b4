"""The ledger's rules: what an attempt costs, what is kept back for it, and whether to try again.

Money is an integer of nano-dollars, and None is *unpriced*: no price is known, which is not 0.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import NewType

from archon_batch.archon import Call, ListPrice, Usage
from archon_batch.errors import (
    Billing,
    ProviderError,
    ProviderFailedError,
    RateLimitError,
    TransientError,
)

NanoUsd = NewType("NanoUsd", int)

_NANO_PER_USD = 1_000_000_000
_MILLION = 1_000_000

#: Attempts that one call may have, whatever they end with.
MAX_ATTEMPTS = 6
#: Times that one call may be turned away by a rate limit while its model answers others: each costs
#: nothing, so they are no attempts of those above; but a call that is turned away for ever must end.
MAX_RATE_LIMITED = 100
#: Attempts that one call may have when each might be on the bill; of failures (5xx) of a model
#: that answers nobody, as many as of any.
MAX_IN_DOUBT = 2
#: Seconds before the second attempt; doubled for each one after.
FIRST_BACKOFF = 1.0
#: The longest wait of our own choosing, and the longest that a provider may ask for.
MAX_BACKOFF = 60.0
MAX_RETRY_AFTER = 600.0
#: The longest wait of our own choosing after a refusal of a model that answers others: there is no
#: outage to sit out, and how much the model is asked is held down by its width.
MAX_RATE_LIMIT_BACKOFF = 20.0
#: Seconds that calls wait for a model that answers none of them.
MAX_OUTAGE = 900.0

#: Tokens that a provider may add around each message, and around the whole.
_TOKENS_PER_MESSAGE = 16


def to_nano(usd: Decimal) -> NanoUsd:
    """Dollars as nano-dollars, rounded up."""
    return NanoUsd(int((usd * _NANO_PER_USD).to_integral_value(ROUND_CEILING)))


def to_usd(nano_usd: int | None) -> Decimal | None:
    """Nano-dollars as dollars, exactly; None stays None."""
    return None if nano_usd is None else Decimal(nano_usd) / _NANO_PER_USD


@dataclass(frozen=True, slots=True)
class Overbilling:
    """What a provider was seen to count beyond what it was asked for; all 0 when it never was."""

    #: Tokens of a prompt above the most that its bytes can have.
    prompt_tokens: int = 0
    #: The most tokens of a reply that was too long, and what its call allowed.
    completion_tokens: int = 0
    max_tokens: int = 0

    def with_reply(self, call: Call, usage: Usage) -> "Overbilling":
        """With what one more reply was counted."""
        prompt = max(self.prompt_tokens, (usage.prompt_tokens or 0) - _max_prompt_tokens(call))
        completion = usage.completion_tokens or 0
        if completion <= max(call.max_tokens, self.completion_tokens):
            return replace(self, prompt_tokens=prompt)
        return Overbilling(prompt, completion, call.max_tokens)

    def merged_with(self, other: "Overbilling") -> "Overbilling":
        """The more of both."""
        longer = max(self, other, key=lambda one: one.completion_tokens)
        return replace(longer, prompt_tokens=max(self.prompt_tokens, other.prompt_tokens))

    def describe(self, model: str) -> str:
        """For people; nothing when there is nothing to tell."""
        parts = []
        if self.completion_tokens:
            tokens = f"{self.completion_tokens:,} tokens for {self.max_tokens:,}"
            parts.append(f"does not keep to max_tokens: {tokens}")
        if self.prompt_tokens:
            parts.append(f"counts {self.prompt_tokens:,} tokens more than a prompt can have")
        return f"{model} {', and '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per million tokens, so that every listed price is a whole number."""

    input: int
    output: int
    #: Of prompt tokens that the provider read from its cache; None is ``input``.
    cached: int | None = None

    @classmethod
    def from_list_price(cls, list_price: ListPrice) -> "Price":
        cached = None if list_price.cached_input is None else to_nano(list_price.cached_input)
        return cls(to_nano(list_price.input), to_nano(list_price.output), cached)

    def cost(self, usage: Usage) -> NanoUsd | None:
        """What the call cost, rounded up to a whole nano-dollar; None if that is not known.

        A provider that says what it charged is believed before the list, which is what a call is
        expected to cost: with it goes what tokens do not tell, as a cheaper host or a fee.
        """
        if usage.provider_cost_nano is not None:
            return NanoUsd(usage.provider_cost_nano)
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        # A provider cannot have read more from its cache than there was.
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        apart = self.input if self.cached is None else self.cached
        fresh = (usage.prompt_tokens - cached) * self.input
        return self._total(fresh + cached * apart, usage.completion_tokens)

    def max_cost(self, call: Call, overbilling: Overbilling | None = None) -> NanoUsd:
        """The most that the call can cost: what is kept back for it while it is in flight.

        Args:
            call: what is asked.
            overbilling: what its model was seen to count beyond what it was asked for.
        """
        prompt, completion = _max_prompt_tokens(call), call.max_tokens
        if overbilling is not None:
            prompt, completion = (
                prompt + overbilling.prompt_tokens,
                max(completion, overbilling.completion_tokens),
            )
        return self._total(prompt * max(self.input, self.cached or 0), completion)

    def _total(self, prompt: int, completion: int) -> NanoUsd:
        return NanoUsd(-(-(prompt + completion * self.output) // _MILLION))


def _max_prompt_tokens(call: Call) -> int:
    """The most tokens that the prompt can have: a byte-level tokenizer makes at most one of a byte."""
    return _TOKENS_PER_MESSAGE + sum(
        _TOKENS_PER_MESSAGE + len(m.content.encode("utf-8", "surrogatepass")) for m in call.messages
    )


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """The attempts that a call has had and that count, with the last."""

    attempts: int
    #: How many of them may be on the bill although no answer came.
    in_doubt: int = 0
    #: How many of them a rate limit turned away, which cost nothing.
    rate_limited: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try once more, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The call is settled with a failure."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopJob:
    """Every call of the job would end alike: nothing more is begun, and the call stays open."""

    reason: str


def decide(
    error: ProviderError, history: AttemptHistory, jitter: float, down_for: float | None = None
) -> Retry | GiveUp | StopJob:
    """What follows an attempt that ended with ``error``: the one place that retries are decided.

    Args:
        error: how the last attempt ended.
        history: the attempts that the call has had, with the last.
        jitter: from 0 to 1, so that calls that failed together do not come back together.
        down_for: for how many seconds the model has answered no call at all; None if it does answer.
    """
    if error.stops_job:
        return StopJob(str(error))
    if not isinstance(error, TransientError):
        return GiveUp(f"{error.reason}: {error.why}")
    if error.long_wait_reason and down_for is not None:
        return StopJob(f"{error}; {error.long_wait_reason}")
    if down_for is not None and down_for >= MAX_OUTAGE:
        return GiveUp(f"{error.reason}, no call answered for {down_for / 60:.0f} min: {error.why}")
    # An outage is not the call's: its probes do not use up the attempts that it has.
    used = history.attempts - history.rate_limited
    if down_for is None and (used >= MAX_ATTEMPTS or history.rate_limited >= MAX_RATE_LIMITED):
        return GiveUp(f"{error.reason} after {history.attempts} attempts: {error.why}")
    # Nor does it use up those that it may have in doubt, where a proxy has nobody to ask: then a
    # probe is hardly ever served, and a row would be lost to minutes of it.
    is_outage = down_for is not None and isinstance(error, ProviderFailedError)
    if history.in_doubt >= (MAX_ATTEMPTS if is_outage else MAX_IN_DOUBT):
        return GiveUp(f"{error.reason}, {history.in_doubt} attempts in doubt: {error.why}")
    answers = down_for is None and isinstance(error, RateLimitError)
    longest = MAX_RATE_LIMIT_BACKOFF if answers else MAX_BACKOFF
    backoff = min(longest, FIRST_BACKOFF * 2 ** min(history.attempts - 1, MAX_ATTEMPTS))
    asked = 0.0 if error.long_wait_reason else min(MAX_RETRY_AFTER, error.retry_after or 0.0)
    return Retry(max(backoff * (0.5 + jitter / 2), asked))


__all__ = [
    "AttemptHistory",
    "Billing",
    "GiveUp",
    "NanoUsd",
    "Overbilling",
    "Price",
    "Retry",
    "StopJob",
    "decide",
    "to_nano",
    "to_usd",
]
