"""A reply's usage as each provider writes it: one table, and what cannot be true is no report.

A count that is none, or that no call can have had, is None: then the call costs the most that it
can have, and is marked as an estimate.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from archon_batch.archon import Call, Model, Usage

JsonPath = tuple[str, ...]

#: Where a count stands, the first that is there. ``input_tokens`` and its like are the words of
#: OpenAI's Responses, and of Anthropic's Messages.
_PROMPT: tuple[JsonPath, ...] = (("prompt_tokens",), ("input_tokens",))
_COMPLETION: tuple[JsonPath, ...] = (("completion_tokens",), ("output_tokens",))
_CACHED: tuple[JsonPath, ...] = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, OpenRouter, xAI, Groq, vLLM, SGLang
    ("input_tokens_details", "cached_tokens"),  # OpenAI's Responses
    ("prompt_cache_hit_tokens",),  # DeepSeek: api-docs.deepseek.com/guides/kv_cache
    ("cached_tokens",),  # Moonshot, Together
    ("cache_read_input_tokens",),  # Anthropic, and litellm of it
)
_REASONING: tuple[JsonPath, ...] = (
    ("completion_tokens_details", "reasoning_tokens"),  # OpenAI, OpenRouter, xAI, DeepSeek
    ("output_tokens_details", "reasoning_tokens"),  # OpenAI's Responses
    ("reasoning_tokens",),  # Perplexity
)
#: Anthropic's input_tokens are those beside these two (platform.claude.com, prompt caching). The
#: price list has no price for what is written to a cache: it counts as any prompt.
_CACHE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
#: The longest window that litellm's list has is 10,485,760 tokens (Llama 4 Scout); the longest
#: reply, apart from entries that repeat the window, 2,000,000. A provider that does not keep to
#: max_tokens, or adds to the prompt, stays far below: its bill is a bill.
_MAX_PROMPT, _MAX_COMPLETION = 10_485_760, 2_000_000
#: USD. The dearest tokens of that list, as many as that, come to less.
_MAX_COST = Decimal(1000)
_NANO, _TICKS = Decimal(10**9), Decimal(10**10)


class UsageBounds(NamedTuple):
    """The most tokens that a call can have had."""

    prompt: int = _MAX_PROMPT
    completion: int = _MAX_COMPLETION

    @classmethod
    def from_call(cls, call: Call) -> "UsageBounds":
        # A token is at least a byte, and no character has more than four of them.
        size = sum(4 * len(message.content) for message in call.messages)
        return cls(max(_MAX_PROMPT, size), max(_MAX_COMPLETION, call.max_tokens))


def parse_usage(reported: object, call: Call, *, empty: bool) -> Usage:
    """What the provider says it counted, and charged.

    A 0 where there must have been some tokens is no report, as of a completion that is not empty.
    """
    if not isinstance(reported, Mapping):
        return Usage()
    most = UsageBounds.from_call(call)
    prompt = _count(reported, _PROMPT, most.prompt) or None
    if prompt is not None and "prompt_tokens" not in reported:
        beside = sum(_count(reported, ((name,),), most.prompt) or 0 for name in _CACHE_INPUT)
        prompt = prompt + beside if prompt + beside <= most.prompt else None
    reasoning = _count(reported, _REASONING, most.completion)
    completion = _completion_tokens(reported, prompt, reasoning, most)
    if completion == 0 and (not empty or prompt is None):
        completion = None
    cached = _count(reported, _CACHED, most.prompt)
    return Usage(prompt, completion, cached, reasoning, _reported_cost(reported, call.model))


def _completion_tokens(
    reported: Mapping[str, Any], prompt: int | None, reasoning: int | None, bounds: UsageBounds
) -> int | None:
    """The tokens of the completion with its thoughts, which some tell apart.

    xAI has reasoning tokens beside the completion's, with a total of all (docs.x.ai, reasoning);
    Gemini's endpoint that speaks like OpenAI's has them in the total alone (ai.google.dev, OpenAI
    compatibility). Where all others count them, they are a part of the completion.
    """
    completion = _count(reported, _COMPLETION, bounds.completion)
    if completion is None:
        return None
    total = _count(reported, (("total_tokens",),), bounds.prompt + bounds.completion)
    if prompt is not None and total and total > prompt + completion:
        completion = total - prompt
    elif not total and reasoning is not None and reasoning > completion:
        completion += reasoning
    return completion if completion <= bounds.completion else None


def _reported_cost(reported: Mapping[str, Any], model: Model) -> int | None:
    """What the provider says the call has cost, in nano-dollars, of those whose word is known."""
    usd: Decimal | None = None
    if _is_provider(model, "openrouter", "openrouter.ai"):
        # openrouter.ai/docs/use-cases/usage-accounting. With a key of one's own, ``cost`` is the
        # fee alone, and the provider behind it has its own bill.
        usd = _number(reported, ("cost",))
        if usd is not None and reported.get("is_byok"):
            behind = _number(reported, ("cost_details", "upstream_inference_cost"))
            usd = None if behind is None else usd + behind
    elif _is_provider(model, "xai", "api.x.ai"):
        ticks = _number(reported, ("cost_in_usd_ticks",))  # docs.x.ai/developers/cost-tracking
        usd = None if ticks is None else ticks / _TICKS
    elif _is_provider(model, "perplexity", "api.perplexity.ai"):
        usd = _number(reported, ("cost", "total_cost"))  # a request has a price besides its tokens
    if usd is None or usd > _MAX_COST:
        return None
    return int((usd * _NANO).to_integral_value(ROUND_CEILING))


def _is_provider(model: Model, provider: str, host: str) -> bool:
    return model.provider == provider or urlsplit(model.api_base or "").hostname == host


def _number(reported: Mapping[str, Any], path: JsonPath) -> Decimal | None:
    value = _value_at(reported, path)
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if good and isfinite(value) and value >= 0 else None


def _count(reported: Mapping[str, Any], paths: Iterable[JsonPath], maximum: int) -> int | None:
    """The first count of these that is there; None if it is none, or more than there can be."""
    value = next(
        (found for path in paths if (found := _value_at(reported, path)) is not None), None
    )
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum
    return value if good else None


def _value_at(reported: Any, path: JsonPath) -> Any:  # noqa: ANN401  (as JSON has it)
    for name in path:
        reported = reported.get(name) if isinstance(reported, Mapping) else None
    return reported
