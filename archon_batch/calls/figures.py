"""What models may take and do take, as ``--json`` prints it."""

from dataclasses import asdict
from typing import Any

from archon_batch.calls.seam import LimitBackend
from archon_batch.store import Store


def limit_usage(store: Store, backend: LimitBackend) -> list[dict[str, Any]]:
    """Every model of a running job, or whose limits were set by hand."""
    told = []
    for key, asked in store.rate_limits.all().items():
        meter, now = backend.read_state(key)
        alive = [holder for holder in meter.clients.values() if holder.expires_at > now]
        widths = [holder.adaptive_limit for holder in alive if holder.adaptive_limit is not None]
        parked = max(
            (holder.circuit_open_until - now for holder in alive if holder.circuit_open_until),
            default=0.0,
        )
        told.append({
            "model": key.model,
            "api_base": key.api_base or None,
            **asdict(asked.effective),
            "set": asdict(asked.operator_limits),
            # Of a model without limits that answers nobody keeps count.
            "in_flight": sum(holder.in_flight for holder in alive) if alive else None,
            # That of the narrowest process.
            "width": min(widths, default=None),
            "parked_seconds": round(parked, 1) if parked > 0 else None,
        })  # fmt: skip
    return told
