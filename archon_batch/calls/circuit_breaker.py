"""The breaker of a model: when nobody answers, its calls wait, and one at a time finds out.

A refusal of a rate limit is the refused call's own affair, and so is the wait that it asks for, as
long as others pass; decision 30 has the reasons.
"""

from dataclasses import dataclass, replace
from math import inf

from archon_batch.errors import ProviderError, RateLimitError, TransientError
from archon_batch.money import FIRST_BACKOFF, MAX_BACKOFF, MAX_OUTAGE, MAX_RETRY_AFTER

#: Failures in a row, of whichever calls, after which the model is taken to be away.
FAILURE_THRESHOLD = 5

#: Rate limits in a row that mean the same: of a provider that turns away two of three calls at
#: random, five in a row are no news.
RATE_LIMIT_THRESHOLD = 16

#: Doubled more often, a wait would still be the longest.
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """What one process knows of one model, in seconds of a clock that never goes back.

    Closed, everything goes. Open, nothing goes before ``until``; then one call does, the probe. If
    it fails, the wait grows; if any call is answered, the breaker is closed.
    """

    #: In a row, without an answer between them.
    failures: int = 0
    #: How often it has opened since the last answer; 0 is closed.
    trips: int = 0
    #: When it opened first.
    opened_at: float = -inf
    #: When the next probe may go.
    next_probe_at: float = -inf
    #: Until when the provider wants to be left alone, whatever it answers to earlier calls.
    retry_after_until: float = -inf
    #: A probe is on its way.
    probing: bool = False

    @property
    def may_block(self) -> bool:
        """Whether there is anything to wait for, now or before long: else no clock is asked."""
        return self.trips > 0 or self.retry_after_until > -inf

    def seconds_to_wait(self, now: float) -> float:
        """Seconds before a call may go; 0 if one may go now."""
        return (
            0.0
            if self._outage_too_long(now)
            else max(0.0, self.next_probe_at - now, self.retry_after_until - now)
        )

    def blocks(self, now: float) -> bool:
        """Whether a call may not go as it pleases: it waits, or it is the probe."""
        waits = self.trips > 0 or self.retry_after_until > now
        return waits and not self._outage_too_long(now)

    def down_for(self, now: float) -> float | None:
        """Seconds since it opened; None if it is closed."""
        return max(0.0, now - self.opened_at) if self.trips else None

    def half_open(self, now: float) -> "CircuitBreaker":
        """One call goes. If nothing is heard of it, another may after the longest wait."""
        # When nobody has asked for so long, nothing is known of the time between.
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
        """What is known after a call has ended with ``error``.

        Args:
            error: how it ended.
            now: when.
            jitter: from 0 to 1, so that processes do not probe together.
            in_flight: how many other calls are still out, any of which may be answered.
        """
        if not isinstance(error, TransientError):
            # A refusal is an answer.
            return self.succeeded()
        if self._outage_too_long(now):
            return replace(self, next_probe_at=now)
        known = replace(self, failures=self.failures + 1)
        asked = 0.0 if error.long_wait_reason else min(MAX_RETRY_AFTER, error.retry_after or 0.0)
        # Below that, a call's own wait is longer.
        if asked >= FIRST_BACKOFF and _all_failed(known.failures, FAILURE_THRESHOLD, in_flight):
            known = replace(known, retry_after_until=max(self.retry_after_until, now + asked))
        if self.trips and not self.probing:
            # It was sent before the breaker opened.
            return known
        if not self.trips and not _trips(error, known.failures, in_flight):
            return known
        doubled = FIRST_BACKOFF * 2 ** min(known.trips + 1, _MAX_DOUBLINGS)
        return replace(
            known,
            trips=known.trips + 1,
            opened_at=known.opened_at if known.trips else now,
            next_probe_at=now + min(MAX_BACKOFF, doubled) * (0.5 + jitter / 2),
            probing=False,
        )

    def _outage_too_long(self, now: float) -> bool:
        """Whether calls go without waiting, each to its last attempt: else a job would not end."""
        away = self.down_for(now)
        return away is not None and away >= MAX_OUTAGE and not self._unused_for_long(now)

    def _unused_for_long(self, now: float) -> bool:
        return now - self.next_probe_at > MAX_OUTAGE


def _trips(error: TransientError, failures: int, in_flight: int) -> bool:
    if not isinstance(error, RateLimitError):
        return failures >= FAILURE_THRESHOLD
    return _all_failed(
        failures, FAILURE_THRESHOLD if error.long_wait_reason else RATE_LIMIT_THRESHOLD, in_flight
    )


def _all_failed(failures: int, threshold: int, in_flight: int) -> bool:
    """Whether not just some calls are refused: so many in a row, and as many as are still out.

    A refusal comes sooner than an answer, so of calls that were sent together those come first.
    """
    return failures >= max(threshold, in_flight)
