"""litellm's price list."""

import subprocess
import sys
from decimal import Decimal

import pytest

from archon_batch.archon import ListPrice
from archon_batch.providers import price_list
from archon_batch.providers.price_list import (
    PriceListEntry,
    find_entry,
    known_providers,
    similar_models,
)


def usd(text):
    return Decimal(text)


def price_of(model):
    found = find_entry(model)
    assert found
    return found.price


@pytest.mark.parametrize("model", ["gpt-4o-mini", "openai/gpt-4o-mini"])
def test_a_model_is_found_with_and_without_its_provider(model):
    price = ListPrice(input=usd("0.15"), output=usd("0.6"), cached_input=usd("0.075"))
    assert find_entry(model) == PriceListEntry(price, 128000, 16384, json_schema=True)


@pytest.mark.parametrize("provider", ["vertex_ai", "gemini"])
def test_one_model_at_two_providers_is_two_entries(provider):
    price = ListPrice(input=usd("1.25"), output=usd(10), cached_input=usd("0.125"))
    assert price_of(f"{provider}/gemini-2.5-pro") == price


@pytest.mark.parametrize(
    "model",
    ["anthropic/gpt-4o-mini", "local/smollm2", "scripted/plausible", "sample_spec", "", "/", "zzz"],
)
def test_an_unlisted_model_has_no_entry(model):
    assert find_entry(model) is None


def test_models_other_than_chat_models_have_no_entry():
    assert find_entry("text-embedding-3-small") is None


def test_every_price_is_the_listed_price_times_a_million_in_plain_digits():
    for name, entry in price_list._entries().items():
        price = price_of(name)
        if price:
            assert price.input == Decimal(entry["input_cost_per_token"]) * 1_000_000
            assert price.output == Decimal(entry["output_cost_per_token"]) * 1_000_000
            cached = entry.get("cache_read_input_token_cost")
            assert price.cached_input == (None if cached is None else Decimal(cached) * 1_000_000)
            assert "E" not in str(price)


def test_a_price_of_zero_counts_only_for_self_hosted_models():
    for name, entry in price_list._entries().items():
        price = price_of(name)
        if price and not (price.input and price.output):
            assert entry["litellm_provider"] in {"ollama", "lemonade"}
    assert price_of("ollama/llama3") == ListPrice(input=usd(0), output=usd(0))


def test_a_price_per_request_excludes_a_price_per_token():
    paid = [name for name, e in price_list._entries().items() if e.get("input_cost_per_request")]
    assert paid
    assert all(price_of(name) is None for name in paid)


def test_a_misspelt_model_gets_suggestions_with_full_names():
    assert similar_models("openai/gpt-4o-mni")[0] == "openai/gpt-4o-mini"
    assert similar_models("gpt-4o-mni")[0] == "openai/gpt-4o-mini"
    assert len(similar_models("anthropic/claude-sonet-4-5")) == 3
    assert similar_models("nothing like it at all") == ()


def test_providers_without_listed_models_are_known():
    assert {"openai", "anthropic", "hosted_vllm", "openrouter", "vertex_ai"} <= known_providers()
    assert "vertex_ai-language-models" not in known_providers()
    assert "nosuch" not in known_providers()


@pytest.mark.slow
def test_a_price_lookup_does_not_import_litellm():
    program = (
        "import sys; from archon_batch.providers.price_list import find_entry, similar_models, known_providers;"
        "assert find_entry('gpt-4o') and similar_models('gpt-4') and known_providers();"
        "assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
