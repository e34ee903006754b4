"""Usage in every provider's format, and counts that are ignored."""

import json
import math

import pytest

from archon_batch.archon import Call, CallKey, Message, Model, Reply, Usage
from archon_batch.providers.chat_completions import decode_reply
from archon_batch.providers.usage import parse_usage

PLAIN = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}

SHAPES = {
    "OpenAI": (
        {
            **PLAIN,
            "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
        Usage(20, 2, 16, 1),
    ),
    "details that are null": (
        {**PLAIN, "prompt_tokens_details": None, "completion_tokens_details": None},
        Usage(20, 2),
    ),
    "xAI": (
        {**PLAIN, "total_tokens": 622, "completion_tokens_details": {"reasoning_tokens": 600}},
        Usage(20, 602, None, 600),
    ),
    "xAI without a total": (
        {"prompt_tokens": 20, "completion_tokens": 2} | {"reasoning_tokens": 600},
        Usage(20, 602, None, 600),
    ),
    "Gemini": ({**PLAIN, "total_tokens": 622}, Usage(20, 602)),
    "thoughts and not a word": (
        {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 80},
        Usage(20, 60),
    ),
    "thoughts that are a part": (
        {**PLAIN, "total_tokens": None, "completion_tokens_details": {"reasoning_tokens": 2}},
        Usage(20, 2, None, 2),
    ),
    "a total that is too small": ({**PLAIN, "total_tokens": 3}, Usage(20, 2)),
    "DeepSeek": (
        {**PLAIN, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4},
        Usage(20, 2, 16),
    ),
    "Moonshot": ({**PLAIN, "cached_tokens": 16}, Usage(20, 2, 16)),
    "Anthropic by litellm": (
        {**PLAIN, "cache_read_input_tokens": 16, "cache_creation_input_tokens": 3},
        Usage(20, 2, 16),
    ),
    "Anthropic": (
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_read_input_tokens": 16,
            "cache_creation_input_tokens": 3,
        },
        Usage(20, 2, 16),
    ),
    "Responses": (
        {
            "input_tokens": 20,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 16},
            "output_tokens_details": {"reasoning_tokens": 1},
        },
        Usage(20, 2, 16, 1),
    ),
    # A provider that ignores max_tokens bills the tokens all the same.
    "more than asked": ({"prompt_tokens": 9_000, "completion_tokens": 5_000}, Usage(9_000, 5_000)),
    "none": (None, Usage()),
    "a list": ([1], Usage()),
    "of another kind": ({"tokens": 22}, Usage()),
}
IMPOSSIBLE = [
    2**62,
    2**63 - 1,
    2**64 - 1,
    2**32 - 35,
    3_000_000_000,
    3e9,
    5.0,
    math.nan,
    math.inf,
    -1,
    -5,
    True,
    "5",
    [5],
    {"count": 5},
    10**400,
]


def a_call(model="openai/m", base=None, max_tokens=64):
    messages = (Message("user", "Why?"),)
    model = Model(model=model, api_base=base)
    return Call(CallKey(0, 0, 0, 0), "ranker", model, messages, 0, 0.0, max_tokens, None)


def read(reported, **of):
    return parse_usage(reported, a_call(**of), empty=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_format_of_every_provider_gives_the_same_counts(shape):
    reported, counts = SHAPES[shape]
    assert read(reported) == counts


@pytest.mark.parametrize("count", IMPOSSIBLE)
def test_impossible_counts_are_ignored(count):
    assert read({**PLAIN, "completion_tokens": count}) == Usage(20, None)
    assert read({**PLAIN, "prompt_tokens": count, "total_tokens": None}) == Usage(None, 2)
    assert read({**PLAIN, "total_tokens": count}) == Usage(20, 2)
    details = {
        "prompt_tokens_details": {"cached_tokens": count},
        "completion_tokens_details": {"reasoning_tokens": count},
    }
    assert read({**PLAIN, **details}) == Usage(20, 2)


@pytest.mark.parametrize(
    "number", ["NaN", "9" * 5000, "-" + "9" * 50, "1e999", "18446744073709551616"]
)
def test_an_invalid_number_does_not_lose_the_reply(number):
    body = json.dumps(
        {
            "choices": [{"message": {"content": "42"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": "here"},
        }
    ).replace('"here"', number)
    came = decode_reply(body.encode(), a_call())
    assert isinstance(came, Reply)
    assert (came.text, came.usage) == ("42", Usage(20, None))


def test_a_zero_where_there_must_be_tokens_is_ignored():
    assert read({"prompt_tokens": 0, "completion_tokens": 0}) == Usage()
    assert parse_usage(
        {**PLAIN, "completion_tokens": 0, "total_tokens": 20}, a_call(), empty=True
    ) == Usage(20, 0)


def test_max_tokens_raises_the_bound_of_the_completion():
    reported = {**PLAIN, "completion_tokens": 3_000_000, "total_tokens": 3_000_020}
    assert read(reported) == Usage(20, None)
    assert read(reported, max_tokens=4_000_000) == Usage(20, 3_000_000)


OPENROUTER = {"model": "openrouter/org/m"}
CHARGED = [
    (OPENROUTER, {"cost": 0.00014}, 140_000),
    (OPENROUTER, {"cost": 0}, 0),
    (OPENROUTER, {"cost": 1e-10}, 1),
    (OPENROUTER, {"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}}, 19_950_000_000),
    (OPENROUTER, {"cost": 0.95, "is_byok": True}, None),
    ({"base": "https://openrouter.ai/api/v1"}, {"cost": 0.00014}, 140_000),
    ({"model": "xai/grok-4"}, {"cost_in_usd_ticks": 37_756_000}, 3_775_600),
    ({"base": "https://api.x.ai/v1"}, {"cost_in_usd_ticks": 37_756_000}, 3_775_600),
    ({"model": "perplexity/sonar"}, {"cost": {"total_cost": 0.006}}, 6_000_000),
    # An unknown server may use another currency or unit.
    ({}, {"cost": 0.00014}, None),
    ({"base": "https://openrouter.ai.example.org/v1"}, {"cost": 0.00014}, None),
    *((OPENROUTER, {"cost": cost}, None) for cost in (-1, math.nan, math.inf, True, "1", 1001, None)),
]  # fmt: skip


@pytest.mark.parametrize(("of", "reported", "nano"), CHARGED)
def test_a_reported_cost_counts_for_known_providers_only(of, reported, nano):
    assert read({**PLAIN, **reported}, **of).provider_cost_nano == nano
