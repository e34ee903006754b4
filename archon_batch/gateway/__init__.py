"""The providers: whoever answers calls."""

from archon_batch.gateway.keys import wanted
from archon_batch.gateway.lanes import is_direct
from archon_batch.gateway.models import limits_of, missing_for, price_of, why_unknown
from archon_batch.gateway.router import Router
from archon_batch.gateway.scripted import ScriptedGateway, settled
from archon_batch.gateway.seam import Gateway

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
