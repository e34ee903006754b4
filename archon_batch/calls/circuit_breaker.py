"""The breaker of a model: when nobody answers, its calls wait, and one at a time finds out.

A refusal of a rate limit is the refused call's own affair, and so is the wait that it asks for, as
long as others pass; decision 30 has the reasons.
"""

from dataclasses import dataclass, replace
from math import inf

from archon_batch.errors import GatewayError, RateLimitError, TransientError
from archon_batch.money import FIRST_WAIT, LONGEST_OUTAGE, LONGEST_RETRY_AFTER, LONGEST_WAIT

#: Failures in a row, of whichever calls, after which the model is taken to be away.
MOST_FAILURES = 5

#: Rate limits in a row that mean the same: of a provider that turns away two of three calls at
#: random, five in a row are no news.
MOST_REFUSALS = 16

#: Doubled more often, a wait would still be the longest.
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Breaker:
    """What one process knows of one model, in seconds of a clock that never goes back.

    Closed, everything goes. Open, nothing goes before ``until``; then one call does, the probe. If
    it fails, the wait grows; if any call is answered, the breaker is closed.
    """

    #: In a row, without an answer between them.
    failures: int = 0
    #: How often it has opened since the last answer; 0 is closed.
    openings: int = 0
    #: When it opened first.
    since: float = -inf
    #: When the next probe may go.
    until: float = -inf
    #: Until when the provider wants to be left alone, whatever it answers to earlier calls.
    asked: float = -inf
    #: A probe is on its way.
    probing: bool = False

    @property
    def troubled(self) -> bool:
        """Whether there is anything to wait for, now or before long: else no clock is asked."""
        return self.openings > 0 or self.asked > -inf

    def waits(self, now: float) -> float:
        """Seconds before a call may go; 0 if one may go now."""
        return 0.0 if self._given_up(now) else max(0.0, self.until - now, self.asked - now)

    def parks(self, now: float) -> bool:
        """Whether a call may not go as it pleases: it waits, or it is the probe."""
        waits = self.openings > 0 or self.asked > now
        return waits and not self._given_up(now)

    def away(self, now: float) -> float | None:
        """Seconds since it opened; None if it is closed."""
        return max(0.0, now - self.since) if self.openings else None

    def probed(self, now: float) -> "Breaker":
        """One call goes. If nothing is heard of it, another may after the longest wait."""
        # When nobody has asked for so long, nothing is known of the time between.
        since = now if self._idle(now) else self.since
        return replace(self, since=since, until=now + LONGEST_WAIT, probing=True)

    def succeeded(self) -> "Breaker":
        return Breaker(asked=self.asked) if self.failures or self.openings else self

    def failed(
        self, error: GatewayError, now: float, jitter: float, in_flight: int = 0
    ) -> "Breaker":
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
        if self._given_up(now):
            return replace(self, until=now)
        known = replace(self, failures=self.failures + 1)
        asked = 0.0 if error.lasting else min(LONGEST_RETRY_AFTER, error.retry_after or 0.0)
        # Below that, a call's own wait is longer.
        if asked >= FIRST_WAIT and _are_all(known.failures, MOST_FAILURES, in_flight):
            known = replace(known, asked=max(self.asked, now + asked))
        if self.openings and not self.probing:
            # It was sent before the breaker opened.
            return known
        if not self.openings and not _opens(error, known.failures, in_flight):
            return known
        doubled = FIRST_WAIT * 2 ** min(known.openings + 1, _MOST_DOUBLINGS)
        return replace(
            known,
            openings=known.openings + 1,
            since=known.since if known.openings else now,
            until=now + min(LONGEST_WAIT, doubled) * (0.5 + jitter / 2),
            probing=False,
        )

    def _given_up(self, now: float) -> bool:
        """Whether calls go without waiting, each to its last attempt: else a job would not end."""
        away = self.away(now)
        return away is not None and away >= LONGEST_OUTAGE and not self._idle(now)

    def _idle(self, now: float) -> bool:
        return now - self.until > LONGEST_OUTAGE


def _opens(error: TransientError, failures: int, in_flight: int) -> bool:
    if not isinstance(error, RateLimitError):
        return failures >= MOST_FAILURES
    return _are_all(failures, MOST_FAILURES if error.lasting else MOST_REFUSALS, in_flight)


def _are_all(failures: int, most: int, in_flight: int) -> bool:
    """Whether not just some calls are refused: so many in a row, and as many as are still out.

    A refusal comes sooner than an answer, so of calls that were sent together those come first.
    """
    return failures >= max(most, in_flight)
