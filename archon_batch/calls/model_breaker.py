"""The circuit breaker of one model in this process, with its clock, lock and log."""

import asyncio
import random

import structlog

from archon_batch.calls.circuit_breaker import CircuitBreaker
from archon_batch.errors import ProviderError
from archon_batch.money import Overbilling

_log = structlog.get_logger()


class ModelBreaker:
    def __init__(self, model: str) -> None:
        self.model = model
        self.circuit = CircuitBreaker()
        #: Tokens that the provider counted beyond what the calls allowed.
        self.overbilling: Overbilling | None = None
        #: The call that holds it waits for the open circuit and becomes the next probe.
        self.probe_lock = asyncio.Lock()
        #: When the open circuit was first logged.
        self._logged_since: float | None = None

    @property
    def blocks(self) -> bool:
        return self.circuit.may_block and self.circuit.blocks(loop_time())

    def seconds_to_wait(self) -> float:
        """Seconds until a call may be sent; 0 if one may be sent now."""
        return self.circuit.seconds_to_wait(loop_time()) if self.circuit.may_block else 0.0

    @property
    def retry_after(self) -> float:
        """Seconds left of the provider's Retry-After."""
        return max(0.0, self.circuit.retry_after_until - loop_time())

    def record_overbilling(self, overbilling: Overbilling) -> None:
        """Add what this or another process has seen."""
        self.overbilling = (
            overbilling if self.overbilling is None else self.overbilling.merged_with(overbilling)
        )

    def succeeded(self) -> None:
        self._update(self.circuit.succeeded())

    def failed(self, error: ProviderError, in_flight: int) -> None:
        """A call has ended with ``error`` while ``in_flight`` other calls are in flight."""
        jitter = random.random()  # noqa: S311  (only jitter)
        self._update(self.circuit.failed(error, loop_time(), jitter, in_flight), error)

    def _update(self, after: CircuitBreaker, error: ProviderError | None = None) -> None:
        before, self.circuit = self.circuit, after
        if after.trips > before.trips and (before.probing or self._logged_since is None):
            self._logged_since = self._logged_since or loop_time()
            seconds = round(after.seconds_to_wait(loop_time()), 1)
            cause = {} if error is None else {"reason": error.reason, "why": error.why}
            _log.warning("circuit_opened", model=self.model, seconds=seconds, **cause)
        elif self._logged_since and not self.blocks and not after.trips:
            _log.info(
                "circuit_closed",
                model=self.model,
                seconds=round(loop_time() - self._logged_since, 1),
            )
            self._logged_since = None


def loop_time() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()
