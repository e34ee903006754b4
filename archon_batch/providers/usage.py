"""Parses the token usage of a reply, in each provider's form.

A missing or impossible count is None. The call then costs its maximum, marked as an estimate.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from archon_batch.archon import Call, Model, Usage

JsonPath = tuple[str, ...]

#: The paths of each count; the first that exists is used. ``input_tokens`` and ``output_tokens`` are
#: the names of OpenAI's Responses and Anthropic's Messages.
_PROMPT: tuple[JsonPath, ...] = (("prompt_tokens",), ("input_tokens",))
_COMPLETION: tuple[JsonPath, ...] = (("completion_tokens",), ("output_tokens",))
_CACHED: tuple[JsonPath, ...] = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, OpenRouter, xAI, Groq, vLLM, SGLang
    ("input_tokens_details", "cached_tokens"),  # OpenAI's Responses
    ("prompt_cache_hit_tokens",),  # DeepSeek: api-docs.deepseek.com/guides/kv_cache
    ("cached_tokens",),  # Moonshot, Together
    ("cache_read_input_tokens",),  # Anthropic, also through litellm
)
_REASONING: tuple[JsonPath, ...] = (
    ("completion_tokens_details", "reasoning_tokens"),  # OpenAI, OpenRouter, xAI, DeepSeek
    ("output_tokens_details", "reasoning_tokens"),  # OpenAI's Responses
    ("reasoning_tokens",),  # Perplexity
)
#: Anthropic's input_tokens exclude these two (platform.claude.com, prompt caching). The price list
#: has no price for writes to a cache: they count as any prompt token.
_CACHE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
#: litellm's list has context windows of up to 10,485,760 tokens (Llama 4 Scout), and replies of up
#: to 2,000,000, apart from entries that repeat the window. A provider that ignores max_tokens, or
#: adds to the prompt, stays far below, and its counts are valid.
_MAX_PROMPT, _MAX_COMPLETION = 10_485_760, 2_000_000
#: USD; above the highest possible cost by that list.
_MAX_COST = Decimal(1000)
_NANO, _TICKS = Decimal(10**9), Decimal(10**10)


class UsageBounds(NamedTuple):
    """The most tokens that a call can have used."""

    prompt: int = _MAX_PROMPT
    completion: int = _MAX_COMPLETION

    @classmethod
    def from_call(cls, call: Call) -> "UsageBounds":
        # A token has at least one byte, and a character at most four.
        size = sum(4 * len(message.content) for message in call.messages)
        return cls(max(_MAX_PROMPT, size), max(_MAX_COMPLETION, call.max_tokens))


def parse_usage(reported: object, call: Call, *, empty: bool) -> Usage:
    """The tokens and the cost that the provider reports.

    A count of 0 where there must be tokens is ignored, as for a completion that is not empty.

    Args:
        reported: the ``usage`` object of the response.
        call: the call of the response.
        empty: whether the reply has no text.
    """
    if not isinstance(reported, Mapping):
        return Usage()
    bounds = UsageBounds.from_call(call)
    prompt = _count(reported, _PROMPT, bounds.prompt) or None
    if prompt is not None and "prompt_tokens" not in reported:
        cache = sum(_count(reported, ((name,),), bounds.prompt) or 0 for name in _CACHE_INPUT)
        prompt = prompt + cache if prompt + cache <= bounds.prompt else None
    reasoning = _count(reported, _REASONING, bounds.completion)
    completion = _completion_tokens(reported, prompt, reasoning, bounds)
    if completion == 0 and (not empty or prompt is None):
        completion = None
    cached = _count(reported, _CACHED, bounds.prompt)
    return Usage(prompt, completion, cached, reasoning, _reported_cost(reported, call.model))


def _completion_tokens(
    reported: Mapping[str, Any], prompt: int | None, reasoning: int | None, bounds: UsageBounds
) -> int | None:
    """The tokens of the completion including reasoning, which some providers count separately.

    xAI adds reasoning tokens to the total only, and reports them (docs.x.ai, reasoning). Gemini's
    OpenAI-compatible endpoint adds them to the total only (ai.google.dev, OpenAI compatibility).
    All other providers include them in the completion.
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
    """The cost in nano-dollars, for the providers that report one; else None."""
    usd: Decimal | None = None
    provider, host = model.provider, urlsplit(model.api_base or "").hostname
    if provider == "openrouter" or host == "openrouter.ai":
        # openrouter.ai/docs/use-cases/usage-accounting. With the user's own key (BYOK), ``cost``
        # is only OpenRouter's fee, and the provider behind it bills separately.
        usd = _number(reported, ("cost",))
        if usd is not None and reported.get("is_byok"):
            upstream = _number(reported, ("cost_details", "upstream_inference_cost"))
            usd = None if upstream is None else usd + upstream
    elif provider == "xai" or host == "api.x.ai":
        ticks = _number(reported, ("cost_in_usd_ticks",))  # docs.x.ai/developers/cost-tracking
        usd = None if ticks is None else ticks / _TICKS
    elif provider == "perplexity" or host == "api.perplexity.ai":
        usd = _number(reported, ("cost", "total_cost"))  # includes a price per request
    if usd is None or usd > _MAX_COST:
        return None
    return int((usd * _NANO).to_integral_value(ROUND_CEILING))


def _number(reported: Mapping[str, Any], path: JsonPath) -> Decimal | None:
    value = _value_at(reported, path)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number and isfinite(value) and value >= 0 else None


def _count(reported: Mapping[str, Any], paths: Iterable[JsonPath], maximum: int) -> int | None:
    """The first existing count; None if there is none, or if it is impossible."""
    value = None
    for path in paths:
        if (value := _value_at(reported, path)) is not None:
            break
    is_valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum
    return value if is_valid else None


def _value_at(reported: Any, path: JsonPath) -> Any:  # noqa: ANN401  (any JSON value)
    for name in path:
        reported = reported.get(name) if isinstance(reported, Mapping) else None
    return reported
