"""Where processes share the state of a model's rate limits: in Redis, else in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Any, Protocol, cast

from archon_batch.errors import StoreUnavailableError
from archon_batch.rate_limits import (
    CLIENT_LEASE,
    COLD_START_DELAY,
    GRANT_HORIZON,
    LimitClient,
    LimitGrant,
    LimitRequest,
    RateLimits,
    SharedLimitState,
)
from archon_batch.store import ModelKey, Store

#: Seconds for one round trip to Redis.
_TIMEOUT = 5.0


class LimitBackend(Protocol):
    def request_permits(
        self, key: ModelKey, limits: RateLimits, request: LimitRequest
    ) -> LimitGrant:
        """Report what this process holds and get permits; blocks for one round trip.

        Raises:
            StoreUnavailableError: the backend does not answer.
        """
        ...

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        """The stored state of a model, and the current time by the same clock."""
        ...

    def close(self) -> None: ...


class DatabaseLimitBackend:
    def __init__(self, store: Store) -> None:
        self._rate_limits = store.rate_limits

    def request_permits(
        self, key: ModelKey, limits: RateLimits, request: LimitRequest
    ) -> LimitGrant:
        return self._rate_limits.request_permits(key, limits, request)

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        return self._rate_limits.read_state(key)

    def close(self) -> None:
        """The owner of the store closes it."""


class RedisLimitBackend:
    """A hash for each model; a Lua script reads and writes it in one step."""

    def __init__(self, url: str, installation: str) -> None:
        from redis import Redis  # noqa: PLC0415  (the import takes 0.1 s)

        self._prefix = f"archon-batch:limits:{installation}"
        self._redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            health_check_interval=25,
        )
        script = files("archon_batch.calls").joinpath("grant.lua").read_text(encoding="utf-8")
        self._script = self._redis.register_script(script)

    def request_permits(
        self, key: ModelKey, limits: RateLimits, request: LimitRequest
    ) -> LimitGrant:
        arguments: list[str | int | float] = [
            request.client_id,
            request.in_flight,
            request.refund,
            request.cooldown,
            "" if request.adaptive_limit is None else request.adaptive_limit,
            request.circuit_open_for,
            limits.seconds_per_request,
            limits.seconds_per_token,
            "" if limits.max_in_flight is None else limits.max_in_flight,
            GRANT_HORIZON,
            CLIENT_LEASE,
            COLD_START_DELAY,
            *request.token_costs,
        ]
        with _translated_redis_errors():
            answer = self._script(keys=[self._redis_key(key)], args=arguments)
        ask_again_in, contested, delays = cast("tuple[str, int, list[str]]", answer)
        return LimitGrant(tuple(map(float, delays)), float(ask_again_in), contested=bool(contested))

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        with _translated_redis_errors():
            seconds, microseconds = self._redis.time()
            stored = cast("dict[str, str]", self._redis.hgetall(self._redis_key(key)))
        clients = {
            name.removeprefix("h:"): _parse_client(value)
            for name, value in stored.items()
            if name.startswith("h:")
        }
        requests, tokens, at = (float(stored.get(name, 0)) for name in ("requests", "tokens", "at"))
        return SharedLimitState(requests, tokens, clients, at), seconds + microseconds / 1e6

    def close(self) -> None:
        self._redis.close()

    def _redis_key(self, key: ModelKey) -> str:
        return f"{self._prefix}:{key.model} {key.api_base}"


def open_limit_backend(store: Store, *urls: str) -> LimitBackend:
    """Redis, if one of these addresses is a Redis (the first of them); else the database."""
    redis = next((url for url in urls if url.startswith(("redis://", "rediss://"))), None)
    if redis is None:
        return DatabaseLimitBackend(store)
    return RedisLimitBackend(redis, store.installation.id)


def limit_usage(store: Store, backend: LimitBackend) -> list[dict[str, Any]]:
    """Limits and current use, as JSON objects.

    A model is listed while a running job uses it, or while an operator has set limits for it.
    """
    models = []
    for key, configured in store.rate_limits.all().items():
        state, now = backend.read_state(key)
        alive = [client for client in state.clients.values() if client.expires_at > now]
        widths = [client.adaptive_limit for client in alive if client.adaptive_limit is not None]
        open_for = max(
            (client.circuit_open_until - now for client in alive if client.circuit_open_until),
            default=0.0,
        )
        models.append({
            "model": key.model,
            "api_base": key.api_base or None,
            **asdict(configured.effective),
            "set": asdict(configured.operator_limits),
            # Processes do not report a model that has no limits and answers.
            "in_flight": sum(client.in_flight for client in alive) if alive else None,
            # The lowest of all processes.
            "adaptive_limit": min(widths, default=None),
            "circuit_open_seconds": round(open_for, 1) if open_for > 0 else None,
        })  # fmt: skip
    return models


def _parse_client(value: str) -> LimitClient:
    in_flight, waiting, expires_at, adaptive_limit, circuit_open_until = value.split(" ")
    return LimitClient(
        int(in_flight),
        waiting == "1",
        float(expires_at),
        None if adaptive_limit == "-" else int(adaptive_limit),
        float(circuit_open_until),
    )


@contextmanager
def _translated_redis_errors() -> Iterator[None]:
    from redis import RedisError  # noqa: PLC0415  (imported with the backend)

    try:
        yield
    except RedisError as error:
        # Redis's message may quote the address, and with it a password.
        raise StoreUnavailableError(f"limits: Redis: {type(error).__name__}") from None
