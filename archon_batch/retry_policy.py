"""Whether a failed attempt is retried: the only place that decides it."""

from dataclasses import dataclass

from archon_batch.errors import (
    ProviderError,
    ProviderFailedError,
    RateLimitError,
    TransientError,
)

#: Attempts of one call, without those that a rate limit rejected.
MAX_ATTEMPTS = 6
#: Rate-limit errors of one call while its model answers other calls. They cost nothing, so they do
#: not count as attempts; but a call that is always rejected must end.
MAX_RATE_LIMITED = 100
#: Attempts of one call that may have been billed. During an outage, 5xx errors have the usual
#: maximum instead.
MAX_IN_DOUBT = 2
#: Seconds before the second attempt; doubled for each further one.
FIRST_BACKOFF = 1.0
#: Seconds: the longest backoff, and the longest Retry-After of a provider.
MAX_BACKOFF = 60.0
MAX_RETRY_AFTER = 600.0
#: Seconds: the longest backoff after a rate-limit error of a model that answers other calls. There
#: is no outage to wait for, and the adaptive concurrency already limits the rate.
MAX_RATE_LIMIT_BACKOFF = 20.0
#: Seconds that calls wait for a model that answers none of them.
MAX_OUTAGE = 900.0


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """The attempts of a call that count, including the last one."""

    attempts: int
    #: Attempts that may have been billed although no answer came.
    in_doubt: int = 0
    #: Attempts that a rate limit rejected, which cost nothing.
    rate_limited: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Settle the call with a failure."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopJob:
    """Every call of the job would fail in the same way: stop the job and leave the call open."""

    reason: str


def decide(
    error: ProviderError, history: AttemptHistory, jitter: float, down_for: float | None = None
) -> Retry | GiveUp | StopJob:
    """Decide what follows an attempt that ended with ``error``.

    Args:
        error: the error of the last attempt.
        history: the attempts of the call, including the last one.
        jitter: from 0 to 1; spreads the retries of calls that failed together.
        down_for: seconds since the model last answered any call; None if it answers.
    """
    if error.stops_job:
        return StopJob(str(error))
    if not isinstance(error, TransientError):
        return GiveUp(f"{error.reason}: {error.why}")
    if error.long_wait_reason and down_for is not None:
        return StopJob(f"{error}; {error.long_wait_reason}")
    if down_for is not None and down_for >= MAX_OUTAGE:
        return GiveUp(f"{error.reason}, no call answered for {down_for / 60:.0f} min: {error.why}")
    # During an outage, probes do not use up the attempts of the call.
    used = history.attempts - history.rate_limited
    if down_for is None and (used >= MAX_ATTEMPTS or history.rate_limited >= MAX_RATE_LIMITED):
        return GiveUp(f"{error.reason} after {history.attempts} attempts: {error.why}")
    # Nor do 5xx probes use up the attempts in doubt: a proxy without a server behind it hardly ever
    # serves them, and minutes of outage must not cost a row.
    is_outage = down_for is not None and isinstance(error, ProviderFailedError)
    if history.in_doubt >= (MAX_ATTEMPTS if is_outage else MAX_IN_DOUBT):
        return GiveUp(f"{error.reason}, {history.in_doubt} attempts in doubt: {error.why}")
    answers_other_calls = down_for is None and isinstance(error, RateLimitError)
    longest = MAX_RATE_LIMIT_BACKOFF if answers_other_calls else MAX_BACKOFF
    backoff = min(longest, FIRST_BACKOFF * 2 ** min(history.attempts - 1, MAX_ATTEMPTS))
    retry_after = 0.0 if error.long_wait_reason else min(MAX_RETRY_AFTER, error.retry_after or 0.0)
    return Retry(max(backoff * (0.5 + jitter / 2), retry_after))
