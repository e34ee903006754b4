"""Meters in Redis, which a script reads and writes in one step."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import cast

from redis import Redis, RedisError

from archon_batch.errors import StoreAwayError
from archon_batch.rate_limits import AHEAD, LEASE, UNKNOWN, Grant, Holder, Limits, Meter, Wish
from archon_batch.store import ModelKey

#: Seconds for a round trip; the calls wait, and it is tried again.
_PATIENCE = 5.0


class RedisMeters:
    def __init__(self, url: str, installation: str) -> None:
        self._prefix = f"archon-batch:limits:{installation}"
        self._redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            health_check_interval=25,
        )
        script = files("archon_batch.calls").joinpath("grant.lua").read_text(encoding="utf-8")
        self._grant = self._redis.register_script(script)

    def exchange(self, key: ModelKey, limits: Limits, wish: Wish) -> Grant:
        arguments: list[str | int | float] = [
            wish.holder,
            wish.held,
            wish.back,
            wish.rest,
            "" if wish.width is None else wish.width,
            wish.parked,
            limits.request,
            limits.token,
            "" if limits.max_in_flight is None else limits.max_in_flight,
            AHEAD,
            LEASE,
            UNKNOWN,
            *wish.costs,
        ]
        with _translated():
            answer = self._grant(keys=[self._name(key)], args=arguments)
        wait, contested, moments = cast("tuple[str, int, list[str]]", answer)
        return Grant(tuple(map(float, moments)), float(wait), contested=bool(contested))

    def look(self, key: ModelKey) -> tuple[Meter, float]:
        with _translated():
            seconds, micros = self._redis.time()
            found = cast("dict[str, str]", self._redis.hgetall(self._name(key)))
        holders = {
            name.removeprefix("h:"): _holder(value)
            for name, value in found.items()
            if name.startswith("h:")
        }
        requests, tokens, at = (float(found.get(name, 0)) for name in ("requests", "tokens", "at"))
        return Meter(requests, tokens, holders, at), seconds + micros / 1e6

    def close(self) -> None:
        self._redis.close()

    def _name(self, key: ModelKey) -> str:
        return f"{self._prefix}:{key.model} {key.api_base}"


def _holder(value: str) -> Holder:
    held, hungry, until, width, parked = value.split(" ")
    return Holder(
        int(held),
        hungry == "1",
        float(until),
        None if width == "-" else int(width),
        float(parked),
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        # Its words may quote the address, and with it a password.
        raise StoreAwayError(f"limits: Redis: {type(error).__name__}") from None
