"""The one seam between a process's calls and what all processes share of a model's limits."""

from typing import Protocol

from archon_batch.rate_limits import Grant, Limits, Meter, Wish
from archon_batch.store import ModelKey, Store


class Meters(Protocol):
    def exchange(self, key: ModelKey, limits: Limits, wish: Wish) -> Grant:
        """Say what is held, and get what there is; it blocks for a round trip.

        Raises:
            StoreAwayError: nobody is there to ask.
        """
        ...

    def look(self, key: ModelKey) -> tuple[Meter, float]:
        """What is on record of a model, and the moment by the same clock."""
        ...

    def close(self) -> None: ...


class StoredMeters:
    """Meters in the database."""

    def __init__(self, store: Store) -> None:
        self._limits = store.limits

    def exchange(self, key: ModelKey, limits: Limits, wish: Wish) -> Grant:
        return self._limits.exchange(key, limits, wish)

    def look(self, key: ModelKey) -> tuple[Meter, float]:
        return self._limits.meter(key)

    def close(self) -> None:
        """The store is closed by whoever opened it."""


def meters(store: Store, *urls: str) -> Meters:
    """Meters in the first of these addresses that is Redis's, else in the database."""
    redis = next((url for url in urls if url.startswith(("redis://", "rediss://"))), None)
    if redis is None:
        return StoredMeters(store)
    from archon_batch.calls.limit_backends import RedisMeters  # noqa: PLC0415  (a tenth of a second)

    return RedisMeters(redis, store.installation.id)
