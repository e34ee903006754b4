"""The one seam between a process's calls and what all processes share of a model's limits."""

from typing import Protocol

from archon_batch.rate_limits import LimitGrant, LimitRequest, RateLimits, SharedLimitState
from archon_batch.store import ModelKey, Store


class LimitBackend(Protocol):
    def exchange(self, key: ModelKey, limits: RateLimits, request: LimitRequest) -> LimitGrant:
        """Say what is held, and get what there is; it blocks for a round trip.

        Raises:
            StoreAwayError: nobody is there to ask.
        """
        ...

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        """What is on record of a model, and the moment by the same clock."""
        ...

    def close(self) -> None: ...


class DatabaseLimitBackend:
    """Meters in the database."""

    def __init__(self, store: Store) -> None:
        self._limits = store.rate_limits

    def exchange(self, key: ModelKey, limits: RateLimits, request: LimitRequest) -> LimitGrant:
        return self._limits.request_permits(key, limits, request)

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        return self._limits.read_state(key)

    def close(self) -> None:
        """The store is closed by whoever opened it."""


def open_limit_backend(store: Store, *urls: str) -> LimitBackend:
    """Meters in the first of these addresses that is Redis's, else in the database."""
    redis = next((url for url in urls if url.startswith(("redis://", "rediss://"))), None)
    if redis is None:
        return DatabaseLimitBackend(store)
    from archon_batch.calls.limit_backends import RedisLimitBackend  # noqa: PLC0415  (a tenth of a second)

    return RedisLimitBackend(redis, store.installation.id)
