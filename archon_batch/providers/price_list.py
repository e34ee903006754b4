"""The price list that litellm carries, read without the two seconds of importing litellm."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from archon_batch.archon import ListPrice

#: The kinds of entries that answer messages; the others make images, embeddings, ...
_CHAT_MODES = frozenset({"chat", "completion", "responses"})
#: Providers that the list divides, as in ``vertex_ai-language-models``, and a model's name does not.
_FAMILIES = ("bedrock", "cohere", "fireworks_ai", "vertex_ai")
#: Providers whose models run on the operator's own machines.
_SELF_HOSTED = frozenset({"lemonade", "ollama"})


@dataclass(frozen=True, slots=True)
class PriceListEntry:
    """What is listed of a model; None is what is not."""

    price: ListPrice | None
    #: The window and the longest reply, in tokens.
    context_window: int | None
    max_output: int | None
    #: Whether its replies can be held to a JSON schema.
    json_schema: bool


def find_entry(model: str) -> PriceListEntry | None:
    """The list's entry for a model: ``gpt-4o-mini``, or ``openai/gpt-4o-mini``.

    The price is the plain one. Some models cost more than that: beyond some 200,000 tokens of a
    prompt, for what they write to their cache, or for each search.
    """
    entry = _entries().get(model)
    if entry is None:
        provider, _, name = model.partition("/")
        entry = _entries().get(name)
        if entry is None or _provider(entry) != _provider_family(provider):
            return None
    return PriceListEntry(
        _price(entry),
        _token_count(entry, "max_input_tokens"),
        _token_count(entry, "max_output_tokens"),
        json_schema=entry.get("supports_response_schema") is True,
    )


def similar_models(model: str) -> tuple[str, ...]:
    """Up to three listed models with names like this one, the closest first."""
    names = _qualified_names()
    close = difflib.get_close_matches(model, names, n=6, cutoff=0.7)
    return tuple(dict.fromkeys(names[name] for name in close))[:3]


@cache
def known_providers() -> frozenset[str]:
    """The providers of the list, and those that litellm reaches besides."""
    besides = _read_json("provider_endpoints_support_backup.json")["providers"]
    return frozenset(besides) | {_provider(entry) for entry in _entries().values()}


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    every = _read_json("model_prices_and_context_window_backup.json")
    return {name: entry for name, entry in every.items() if entry.get("mode") in _CHAT_MODES}


@cache
def _qualified_names() -> Mapping[str, str]:
    """The names by which an entry is found, each with the one that says the provider."""
    full = {
        name: name if name.startswith(f"{_provider(entry)}/") else f"{_provider(entry)}/{name}"
        for name, entry in _entries().items()
    }
    return full | {name: name for name in full.values()}


def _read_json(file: str) -> dict[str, Any]:
    path = Path(str(distribution("litellm").locate_file(f"litellm/{file}")))
    data: dict[str, Any] = json.loads(path.read_bytes(), parse_float=Decimal)
    return data


def _provider(entry: Mapping[str, Any]) -> str:
    return _provider_family(entry["litellm_provider"])


def _provider_family(provider: str) -> str:
    return next((family for family in _FAMILIES if provider.startswith(family)), provider)


def _price(entry: Mapping[str, Any]) -> ListPrice | None:
    """USD per million tokens; None when tokens are not all that is paid for.

    Of others' machines the list has a 0 for what it does not know, as it has for SageMaker's
    models, and not only for what is free.
    """
    costs = [Decimal(entry.get(f"{part}_cost_per_token") or 0) for part in ("input", "output")]
    if "input_cost_per_request" in entry or not (all(costs) or _provider(entry) in _SELF_HOSTED):
        return None
    # As text, since a million times 0.00001 is 1E+1 otherwise.
    per_million = [Decimal(f"{cost.scaleb(6):f}") for cost in costs]
    read = entry.get("cache_read_input_token_cost")
    cached = None if read is None else Decimal(f"{Decimal(read).scaleb(6):f}")
    return ListPrice(input=per_million[0], output=per_million[1], cached_input=cached)


def _token_count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and value > 0 else None
