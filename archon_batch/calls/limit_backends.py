"""Meters in Redis, which a script reads and writes in one step."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import cast

from redis import Redis, RedisError

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
from archon_batch.store import ModelKey

#: Seconds for a round trip; the calls wait, and it is tried again.
_TIMEOUT = 5.0


class RedisLimitBackend:
    def __init__(self, url: str, installation: str) -> None:
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

    def exchange(self, key: ModelKey, limits: RateLimits, request: LimitRequest) -> LimitGrant:
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
        with _translate_errors():
            answer = self._script(keys=[self._redis_key(key)], args=arguments)
        wait, contested, moments = cast("tuple[str, int, list[str]]", answer)
        return LimitGrant(tuple(map(float, moments)), float(wait), contested=bool(contested))

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        with _translate_errors():
            seconds, micros = self._redis.time()
            found = cast("dict[str, str]", self._redis.hgetall(self._redis_key(key)))
        holders = {
            name.removeprefix("h:"): _parse_client(value)
            for name, value in found.items()
            if name.startswith("h:")
        }
        requests, tokens, at = (float(found.get(name, 0)) for name in ("requests", "tokens", "at"))
        return SharedLimitState(requests, tokens, holders, at), seconds + micros / 1e6

    def close(self) -> None:
        self._redis.close()

    def _redis_key(self, key: ModelKey) -> str:
        return f"{self._prefix}:{key.model} {key.api_base}"


def _parse_client(value: str) -> LimitClient:
    held, hungry, until, width, parked = value.split(" ")
    return LimitClient(
        int(held),
        hungry == "1",
        float(until),
        None if width == "-" else int(width),
        float(parked),
    )


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        # Its words may quote the address, and with it a password.
        raise StoreUnavailableError(f"limits: Redis: {type(error).__name__}") from None
