"""The ledger's rules: what an attempt costs, what is kept back for it, and whether to try again.

Money is an integer of nano-dollars, and None is *unpriced*: no price is known, which is not 0.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import NewType

from archon_batch.archon import Call, ListPrice, Usage
from archon_batch.errors import (
    Billing,
    GatewayError,
    ProviderFailedError,
    RateLimitError,
    TransientError,
)

NanoUsd = NewType("NanoUsd", int)

_NANO = 1_000_000_000
_MILLION = 1_000_000

#: Attempts that one call may have, whatever they end with.
MOST_ATTEMPTS = 6
#: Times that one call may be turned away by a rate limit while its model answers others: each costs
#: nothing, so they are no attempts of those above; but a call that is turned away for ever must end.
MOST_REFUSALS = 100
#: Attempts that one call may have when each might be on the bill; of failures (5xx) of a model
#: that answers nobody, as many as of any.
MOST_IN_DOUBT = 2
#: Seconds before the second attempt; doubled for each one after.
FIRST_WAIT = 1.0
#: The longest wait of our own choosing, and the longest that a provider may ask for.
LONGEST_WAIT = 60.0
LONGEST_RETRY_AFTER = 600.0
#: The longest wait of our own choosing after a refusal of a model that answers others: there is no
#: outage to sit out, and how much the model is asked is held down by its width.
LONGEST_AMONG_ANSWERS = 20.0
#: Seconds that calls wait for a model that answers none of them.
LONGEST_OUTAGE = 900.0

#: Tokens that a provider may add around each message, and around the whole.
_WRAPPING = 16


def nano(usd: Decimal) -> NanoUsd:
    """Dollars as nano-dollars, rounded up."""
    return NanoUsd(int((usd * _NANO).to_integral_value(ROUND_CEILING)))


def usd(money: int | None) -> Decimal | None:
    """Nano-dollars as dollars, exactly; None stays None."""
    return None if money is None else Decimal(money) / _NANO


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a provider was seen to count beyond what it was asked for; all 0 when it never was."""

    #: Tokens of a prompt above the most that its bytes can have.
    prompt: int = 0
    #: The most tokens of a reply that was too long, and what its call allowed.
    completion: int = 0
    allowed: int = 0

    def seen(self, call: Call, usage: Usage) -> "Beyond":
        """With what one more reply was counted."""
        prompt = max(self.prompt, (usage.prompt or 0) - _most_of(call))
        completion = usage.completion or 0
        if completion <= max(call.max_tokens, self.completion):
            return replace(self, prompt=prompt)
        return Beyond(prompt, completion, call.max_tokens)

    def with_(self, other: "Beyond") -> "Beyond":
        """The more of both."""
        longer = max(self, other, key=lambda one: one.completion)
        return replace(longer, prompt=max(self.prompt, other.prompt))

    def told(self, model: str) -> str:
        """For people; nothing when there is nothing to tell."""
        parts = []
        if self.completion:
            tokens = f"{self.completion:,} tokens for {self.allowed:,}"
            parts.append(f"does not keep to max_tokens: {tokens}")
        if self.prompt:
            parts.append(f"counts {self.prompt:,} tokens more than a prompt can have")
        return f"{model} {', and '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per million tokens, so that every listed price is a whole number."""

    input: int
    output: int
    #: Of prompt tokens that the provider read from its cache; None is ``input``.
    cached: int | None = None

    @classmethod
    def of(cls, listed: ListPrice) -> "Price":
        cached = None if listed.cached_input is None else nano(listed.cached_input)
        return cls(nano(listed.input), nano(listed.output), cached)

    def cost(self, usage: Usage) -> NanoUsd | None:
        """What the call cost, rounded up to a whole nano-dollar; None if that is not known.

        A provider that says what it charged is believed before the list, which is what a call is
        expected to cost: with it goes what tokens do not tell, as a cheaper host or a fee.
        """
        if usage.charged is not None:
            return NanoUsd(usage.charged)
        if usage.prompt is None or usage.completion is None:
            return None
        # A provider cannot have read more from its cache than there was.
        cached = min(usage.cached or 0, usage.prompt)
        apart = self.input if self.cached is None else self.cached
        fresh = (usage.prompt - cached) * self.input
        return self._of(fresh + cached * apart, usage.completion)

    def most(self, call: Call, beyond: Beyond | None = None) -> NanoUsd:
        """The most that the call can cost: what is kept back for it while it is in flight.

        Args:
            call: what is asked.
            beyond: what its model was seen to count beyond what it was asked for.
        """
        prompt, completion = _most_of(call), call.max_tokens
        if beyond is not None:
            prompt, completion = prompt + beyond.prompt, max(completion, beyond.completion)
        return self._of(prompt * max(self.input, self.cached or 0), completion)

    def _of(self, prompt: int, completion: int) -> NanoUsd:
        return NanoUsd(-(-(prompt + completion * self.output) // _MILLION))


def _most_of(call: Call) -> int:
    """The most tokens that the prompt can have: a byte-level tokenizer makes at most one of a byte."""
    return _WRAPPING + sum(
        _WRAPPING + len(m.content.encode("utf-8", "surrogatepass")) for m in call.messages
    )


@dataclass(frozen=True, slots=True)
class Past:
    """The attempts that a call has had and that count, with the last."""

    tried: int
    #: How many of them may be on the bill although no answer came.
    in_doubt: int = 0
    #: How many of them a rate limit turned away, which cost nothing.
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """The call is settled with a failure."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Every call of the job would end alike: nothing more is begun, and the call stays open."""

    why: str


def decide(
    error: GatewayError, past: Past, jitter: float, away: float | None = None
) -> Again | Fail | Stop:
    """What follows an attempt that ended with ``error``: the one place that retries are decided.

    Args:
        error: how the last attempt ended.
        past: the attempts that the call has had, with the last.
        jitter: from 0 to 1, so that calls that failed together do not come back together.
        away: for how many seconds the model has answered no call at all; None if it does answer.
    """
    if error.stops_job:
        return Stop(str(error))
    if not isinstance(error, TransientError):
        return Fail(f"{error.reason}: {error.why}")
    if error.lasting and away is not None:
        return Stop(f"{error}; {error.lasting}")
    if away is not None and away >= LONGEST_OUTAGE:
        return Fail(f"{error.reason}, no call answered for {away / 60:.0f} min: {error.why}")
    # An outage is not the call's: its probes do not use up the attempts that it has.
    used = past.tried - past.refused
    if away is None and (used >= MOST_ATTEMPTS or past.refused >= MOST_REFUSALS):
        return Fail(f"{error.reason} after {past.tried} attempts: {error.why}")
    # Nor does it use up those that it may have in doubt, where a proxy has nobody to ask: then a
    # probe is hardly ever served, and a row would be lost to minutes of it.
    is_outage = away is not None and isinstance(error, ProviderFailedError)
    if past.in_doubt >= (MOST_ATTEMPTS if is_outage else MOST_IN_DOUBT):
        return Fail(f"{error.reason}, {past.in_doubt} attempts in doubt: {error.why}")
    answers = away is None and isinstance(error, RateLimitError)
    longest = LONGEST_AMONG_ANSWERS if answers else LONGEST_WAIT
    backoff = min(longest, FIRST_WAIT * 2 ** min(past.tried - 1, MOST_ATTEMPTS))
    asked = 0.0 if error.lasting else min(LONGEST_RETRY_AFTER, error.retry_after or 0.0)
    return Again(max(backoff * (0.5 + jitter / 2), asked))


__all__ = [
    "Again",
    "Beyond",
    "Billing",
    "Fail",
    "NanoUsd",
    "Past",
    "Price",
    "Stop",
    "decide",
    "nano",
    "usd",
]
