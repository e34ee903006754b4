"""The circuit breaker of a model: during an outage its calls wait, and one probe at a time is sent.

While other calls succeed, a rate-limited call waits by itself and the circuit stays closed; see
decision 30.
"""

from dataclasses import dataclass, replace
from math import inf

from archon_batch.errors import ProviderError, RateLimitError, TransientError
from archon_batch.retry_policy import FIRST_BACKOFF, MAX_BACKOFF, MAX_OUTAGE, MAX_RETRY_AFTER

#: Consecutive failures, of any calls, that open the circuit.
FAILURE_THRESHOLD = 5

#: Consecutive rate limits that open it. Higher: a provider that rejects two of three calls at random
#: often rejects five in a row.
RATE_LIMIT_THRESHOLD = 16

#: More doublings than this exceed MAX_BACKOFF anyway.
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """What one process knows of one model; times are seconds of a monotonic clock.

    Closed: calls pass. Open: calls wait until ``next_probe_at``, then one is sent as a probe. If the
    probe fails, the wait doubles; any successful call closes the circuit.
    """

    #: Consecutive failures.
    failures: int = 0
    #: How often the circuit has opened since the last success; 0 is closed.
    trips: int = 0
    #: When it first opened.
    opened_at: float = -inf
    #: When the next probe may be sent.
    next_probe_at: float = -inf
    #: End of the longest Retry-After; a success does not shorten it.
    retry_after_until: float = -inf
    #: A probe is in flight.
    probing: bool = False

    @property
    def may_block(self) -> bool:
        """Whether calls may have to wait; if not, callers need not read the clock."""
        return self.trips > 0 or self.retry_after_until > -inf

    def seconds_to_wait(self, now: float) -> float:
        """Seconds until a call may be sent; 0 if one may be sent now."""
        return (
            0.0
            if self._outage_too_long(now)
            else max(0.0, self.next_probe_at - now, self.retry_after_until - now)
        )

    def blocks(self, now: float) -> bool:
        """Whether a call must wait, or be sent as the probe."""
        waits = self.trips > 0 or self.retry_after_until > now
        return waits and not self._outage_too_long(now)

    def down_for(self, now: float) -> float | None:
        """Seconds since the circuit opened; None if it is closed."""
        return max(0.0, now - self.opened_at) if self.trips else None

    def half_open(self, now: float) -> "CircuitBreaker":
        """A probe is sent. If it never ends, another may follow after MAX_BACKOFF."""
        # After a long time without calls, count the outage from now.
        since = now if self._unused_for_long(now) else self.opened_at
        return replace(self, opened_at=since, next_probe_at=now + MAX_BACKOFF, probing=True)

    def succeeded(self) -> "CircuitBreaker":
        return (
            CircuitBreaker(retry_after_until=self.retry_after_until)
            if self.failures or self.trips
            else self
        )

    def failed(
        self, error: ProviderError, now: float, jitter: float, in_flight: int = 0
    ) -> "CircuitBreaker":
        """The state after a call ended with ``error``.

        Args:
            error: how the call ended.
            now: when it ended.
            jitter: from 0 to 1, so that processes do not probe at the same time.
            in_flight: other calls in flight; any of them may still succeed.
        """
        if not isinstance(error, TransientError):
            # The provider answered, so it is up.
            return self.succeeded()
        if self._outage_too_long(now):
            return replace(self, next_probe_at=now)
        after = replace(self, failures=self.failures + 1)
        retry_after = (
            0.0 if error.long_wait_reason else min(MAX_RETRY_AFTER, error.retry_after or 0.0)
        )
        # A shorter Retry-After is covered by the call's own backoff.
        if retry_after >= FIRST_BACKOFF and _all_failed(
            after.failures, FAILURE_THRESHOLD, in_flight
        ):
            after = replace(after, retry_after_until=max(self.retry_after_until, now + retry_after))
        if self.trips and not self.probing:
            # The call was sent before the circuit opened.
            return after
        if not self.trips and not _trips(error, after.failures, in_flight):
            return after
        doubled = FIRST_BACKOFF * 2 ** min(after.trips + 1, _MAX_DOUBLINGS)
        return replace(
            after,
            trips=after.trips + 1,
            opened_at=after.opened_at if after.trips else now,
            next_probe_at=now + min(MAX_BACKOFF, doubled) * (0.5 + jitter / 2),
            probing=False,
        )

    def _outage_too_long(self, now: float) -> bool:
        """Whether calls no longer wait, so that they fail and the job ends."""
        seconds = self.down_for(now)
        return seconds is not None and seconds >= MAX_OUTAGE and not self._unused_for_long(now)

    def _unused_for_long(self, now: float) -> bool:
        return now - self.next_probe_at > MAX_OUTAGE


def _trips(error: TransientError, failures: int, in_flight: int) -> bool:
    if not isinstance(error, RateLimitError):
        return failures >= FAILURE_THRESHOLD
    return _all_failed(
        failures, FAILURE_THRESHOLD if error.long_wait_reason else RATE_LIMIT_THRESHOLD, in_flight
    )


def _all_failed(failures: int, threshold: int, in_flight: int) -> bool:
    """Whether every recent call failed: ``threshold`` in a row, and as many as are in flight.

    A rejection arrives sooner than a reply, so of calls sent together the rejected ones end first.
    """
    return failures >= max(threshold, in_flight)
