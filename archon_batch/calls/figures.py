"""What models may take and do take, as ``--json`` prints it."""

from dataclasses import asdict
from typing import Any

from archon_batch.calls.seam import Meters
from archon_batch.store import Store


def figures(store: Store, meters: Meters) -> list[dict[str, Any]]:
    """Every model of a running job, or whose limits were set by hand."""
    told = []
    for key, asked in store.limits.all().items():
        meter, now = meters.look(key)
        alive = [holder for holder in meter.holders.values() if holder.until > now]
        widths = [holder.width for holder in alive if holder.width is not None]
        parked = max((holder.parked - now for holder in alive if holder.parked), default=0.0)
        told.append({
            "model": key.model,
            "api_base": key.api_base or None,
            **asdict(asked.held_to),
            "set": asdict(asked.operator),
            # Of a model without limits that answers nobody keeps count.
            "in_flight": sum(holder.held for holder in alive) if alive else None,
            # That of the narrowest process.
            "width": min(widths, default=None),
            "parked_seconds": round(parked, 1) if parked > 0 else None,
        })  # fmt: skip
    return told
