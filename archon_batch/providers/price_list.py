"""litellm's price list, read without the import of litellm, which takes two seconds."""

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

#: The kinds of entries that are chat models; the rest make images, embeddings, ...
_CHAT_MODES = frozenset({"chat", "completion", "responses"})
#: Providers that the list subdivides, as in ``vertex_ai-language-models``, and model names do not.
_FAMILIES = ("bedrock", "cohere", "fireworks_ai", "vertex_ai")
#: Providers whose models run on the user's own machines.
_SELF_HOSTED = frozenset({"lemonade", "ollama"})


@dataclass(frozen=True, slots=True)
class PriceListEntry:
    """A model's entry; None stands for a missing value."""

    price: ListPrice | None
    #: The context window and the longest reply, in tokens.
    context_window: int | None
    max_output: int | None
    #: Whether it supports replies by a JSON schema.
    json_schema: bool


def find_entry(model: str) -> PriceListEntry | None:
    """The entry of a model: ``gpt-4o-mini``, or ``openai/gpt-4o-mini``.

    It has the base price only. Some models cost more for prompts beyond 200,000 tokens, for cache
    writes, or for each search.
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
    """Up to three listed models with similar names, the closest first."""
    names = _qualified_names()
    matches = difflib.get_close_matches(model, names, n=6, cutoff=0.7)
    return tuple(dict.fromkeys(names[name] for name in matches))[:3]


@cache
def known_providers() -> frozenset[str]:
    """All providers that litellm supports, with or without listed models."""
    supported = _read_json("provider_endpoints_support_backup.json")["providers"]
    return frozenset(supported) | {_provider(entry) for entry in _entries().values()}


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    entries = _read_json("model_prices_and_context_window_backup.json")
    return {name: entry for name, entry in entries.items() if entry.get("mode") in _CHAT_MODES}


@cache
def _qualified_names() -> Mapping[str, str]:
    """Every name of an entry, with its name that includes the provider."""
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
    """USD per million tokens; None if requests have a price too.

    For hosted models a price of 0 means unknown, as for SageMaker's models.
    """
    costs = [Decimal(entry.get(f"{part}_cost_per_token") or 0) for part in ("input", "output")]
    if "input_cost_per_request" in entry or not (all(costs) or _provider(entry) in _SELF_HOSTED):
        return None
    # Through text, since 0.00001 times a million is 1E+1 otherwise.
    per_million = [Decimal(f"{cost.scaleb(6):f}") for cost in costs]
    read = entry.get("cache_read_input_token_cost")
    cached = None if read is None else Decimal(f"{Decimal(read).scaleb(6):f}")
    return ListPrice(input=per_million[0], output=per_million[1], cached_input=cached)


def _token_count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and value > 0 else None
