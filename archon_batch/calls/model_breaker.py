"""The gate of a model in this process: where its calls wait while its breaker is open."""

import asyncio
import random

import structlog

from archon_batch.calls.circuit_breaker import Breaker
from archon_batch.errors import GatewayError
from archon_batch.money import Beyond

_log = structlog.get_logger()


class Gate:
    def __init__(self, model: str) -> None:
        self.model = model
        self.breaker = Breaker()
        #: What the model was seen to count beyond what it was asked for.
        self.beyond: Beyond | None = None
        #: The first in the queue watches the breaker, and is the next probe.
        self.turn = asyncio.Lock()
        #: Since when it has been told that the model is parked.
        self._told: float | None = None

    @property
    def parks(self) -> bool:
        return self.breaker.troubled and self.breaker.parks(clock())

    def waits(self) -> float:
        """Seconds before a call may go; 0 if one may go now."""
        return self.breaker.waits(clock()) if self.breaker.troubled else 0.0

    @property
    def wish(self) -> float:
        """Seconds for which the provider wants nothing of the model."""
        return max(0.0, self.breaker.asked - clock())

    def counts(self, beyond: Beyond) -> None:
        """Heed what the model was seen to count, here or by others before."""
        self.beyond = beyond if self.beyond is None else self.beyond.with_(beyond)

    def answered(self) -> None:
        self._told_of(self.breaker.succeeded())

    def failed(self, error: GatewayError, in_flight: int) -> None:
        """A call has ended with ``error``; so many others are still out."""
        jitter = random.random()  # noqa: S311  (only jitter)
        self._told_of(self.breaker.failed(error, clock(), jitter, in_flight), error)

    def _told_of(self, after: Breaker, error: GatewayError | None = None) -> None:
        before, self.breaker = self.breaker, after
        if after.openings > before.openings and (before.probing or self._told is None):
            self._told = self._told or clock()
            seconds = round(after.waits(clock()), 1)
            told = {} if error is None else {"reason": error.reason, "why": error.why}
            _log.warning("model_parked", model=self.model, seconds=seconds, **told)
        elif self._told and not self.parks and not after.openings:
            _log.info("model_answers", model=self.model, seconds=round(clock() - self._told, 1))
            self._told = None


def clock() -> float:
    """Seconds of the loop."""
    return asyncio.get_running_loop().time()
