"""The providers: adapters that execute model calls, and what is known about models."""

from archon_batch.providers.credentials import missing_key_warning
from archon_batch.providers.endpoints import is_direct
from archon_batch.providers.model_info import (
    missing_variables,
    model_problem,
    price_of,
    token_limits_of,
)
from archon_batch.providers.router import Provider, ProviderRouter
from archon_batch.providers.scripted import ScriptedProvider, final_reply

__all__ = [
    "Provider",
    "ProviderRouter",
    "ScriptedProvider",
    "final_reply",
    "is_direct",
    "missing_key_warning",
    "missing_variables",
    "model_problem",
    "price_of",
    "token_limits_of",
]
