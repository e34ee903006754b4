"""Money: prices, what a call costs, and the most that it can cost.

Money is an integer of nano-dollars. None means *unpriced*: no price is known, which is not 0.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import NewType

from archon_batch.archon import Call, ListPrice, Usage

NanoUsd = NewType("NanoUsd", int)

_NANO_PER_USD = 1_000_000_000
_MILLION = 1_000_000

#: Tokens that a provider may add around each message, and around the whole prompt.
_TOKENS_PER_MESSAGE = 16


def to_nano(usd: Decimal) -> NanoUsd:
    """Convert dollars to nano-dollars, rounded up."""
    return NanoUsd(int((usd * _NANO_PER_USD).to_integral_value(ROUND_CEILING)))


def to_usd(nano_usd: int | None) -> Decimal | None:
    """Convert nano-dollars to dollars, exactly; None stays None."""
    return None if nano_usd is None else Decimal(nano_usd) / _NANO_PER_USD


@dataclass(frozen=True, slots=True)
class Overbilling:
    """Tokens that a model was seen to bill beyond the possible maximum; all 0 if it never did."""

    #: Tokens of a prompt above the maximum for its bytes.
    prompt_tokens: int = 0
    #: The tokens of the longest reply above its limit, and that limit.
    completion_tokens: int = 0
    max_tokens: int = 0

    def with_reply(self, call: Call, usage: Usage) -> "Overbilling":
        """Include the usage of one more reply."""
        prompt = max(self.prompt_tokens, (usage.prompt_tokens or 0) - _max_prompt_tokens(call))
        completion = usage.completion_tokens or 0
        if completion <= max(call.max_tokens, self.completion_tokens):
            return replace(self, prompt_tokens=prompt)
        return Overbilling(prompt, completion, call.max_tokens)

    def merged_with(self, other: "Overbilling") -> "Overbilling":
        """Take the larger values of both."""
        longer = max(self, other, key=lambda one: one.completion_tokens)
        return replace(longer, prompt_tokens=max(self.prompt_tokens, other.prompt_tokens))

    def describe(self, model: str) -> str:
        """Describe it for people; empty if the model never overbilled."""
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
    #: For prompt tokens that the provider read from its cache; None means ``input``.
    cached: int | None = None

    @classmethod
    def from_list_price(cls, list_price: ListPrice) -> "Price":
        cached = None if list_price.cached_input is None else to_nano(list_price.cached_input)
        return cls(to_nano(list_price.input), to_nano(list_price.output), cached)

    def cost(self, usage: Usage) -> NanoUsd | None:
        """The cost of a call, rounded up to a whole nano-dollar; None if it is unknown.

        The charge that a provider reports takes precedence over the price list, because it
        includes what tokens do not show: a cheaper host, or a fee.
        """
        if usage.provider_cost_nano is not None:
            return NanoUsd(usage.provider_cost_nano)
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        # No more tokens can come from the cache than the prompt has.
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cached_price = self.input if self.cached is None else self.cached
        uncached = (usage.prompt_tokens - cached) * self.input
        return self._total(uncached + cached * cached_price, usage.completion_tokens)

    def max_cost(self, call: Call, overbilling: Overbilling | None = None) -> NanoUsd:
        """The most that the call can cost: the hold while it is in flight.

        Args:
            call: the call.
            overbilling: tokens that its model was seen to bill beyond the maximum.
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
    """The maximum tokens of the prompt: a byte-level tokenizer makes at most one per byte."""
    return _TOKENS_PER_MESSAGE + sum(
        _TOKENS_PER_MESSAGE + len(m.content.encode("utf-8", "surrogatepass")) for m in call.messages
    )
