"""The providers: whoever answers calls."""

from archon_batch.providers.credentials import wanted
from archon_batch.providers.endpoints import is_direct
from archon_batch.providers.model_info import limits_of, missing_for, price_of, why_unknown
from archon_batch.providers.router import Router
from archon_batch.providers.scripted import ScriptedGateway, settled
from archon_batch.providers.seam import Gateway

__all__ = [
    "Gateway",
    "Router",
    "ScriptedGateway",
    "is_direct",
    "limits_of",
    "missing_for",
    "price_of",
    "settled",
    "wanted",
    "why_unknown",
]
