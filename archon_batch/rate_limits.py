"""Rate limits of a model: requests and tokens per minute, and calls in flight.

Requests and tokens are evenly paced: each call postpones the earliest time of the next. So no
sliding minute exceeds the limit, and no history of that minute is needed. The functions are pure:
times are arguments, in seconds of any clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

#: The share of a limit that is used; the rest absorbs requests that reach the provider late.
USABLE_SHARE = 0.97
#: Seconds after its send time within which a call may still be sent.
MAX_LATENESS = 1.0
#: Seconds ahead for which send times are granted, so that one request serves many calls.
GRANT_HORIZON = 0.5
#: Seconds between two reports of a process with calls in flight, and until its calls expire.
RENEW_INTERVAL, CLIENT_LEASE = 0.5, 30.0
#: Seconds without grants after the state was lost: by then all send times granted before have passed,
#: and every process has reported its calls in flight.
COLD_START_DELAY = 1.0
#: Calls in one request, at most.
MAX_CALLS_PER_REQUEST = 256

_MINUTE = 60.0
#: Calls over which the throttled share is averaged, unless more are in flight; the share that is
#: tolerated, and the share that counts as none.
_SAMPLE_CALLS, _TOLERATED_SHARE, _NEGLIGIBLE_SHARE = 32, 0.2, 0.001


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits of a model over all workers; None is no limit."""

    #: Requests per minute.
    rpm: int | None = None
    #: Tokens per minute, prompts and replies together.
    tpm: int | None = None
    #: Calls in flight.
    max_in_flight: int | None = None

    def __bool__(self) -> bool:
        return self.is_paced or self.max_in_flight is not None

    @property
    def is_paced(self) -> bool:
        """Whether each call has a send time."""
        return self.rpm is not None or self.tpm is not None

    @property
    def seconds_per_request(self) -> float:
        """Seconds between two requests."""
        return _MINUTE / (self.rpm * USABLE_SHARE) if self.rpm else 0.0

    @property
    def seconds_per_token(self) -> float:
        """Seconds that one token takes."""
        return _MINUTE / (self.tpm * USABLE_SHARE) if self.tpm else 0.0

    def minimum(self, other: "RateLimits") -> "RateLimits":
        return RateLimits(
            _min_or_none(self.rpm, other.rpm),
            _min_or_none(self.tpm, other.tpm),
            _min_or_none(self.max_in_flight, other.max_in_flight),
        )

    def with_fallback(self, fallback: "RateLimits") -> "RateLimits":
        """These limits, and the fallback's where one of these is not set."""
        return RateLimits(
            fallback.rpm if self.rpm is None else self.rpm,
            fallback.tpm if self.tpm is None else self.tpm,
            fallback.max_in_flight if self.max_in_flight is None else self.max_in_flight,
        )


@dataclass(frozen=True, slots=True)
class RemainingLimits:
    """The remaining quota in a provider's response headers; None is not reported."""

    requests: int | None = None
    tokens: int | None = None
    #: Seconds until each quota is full again.
    requests_reset: float | None = None
    tokens_reset: float | None = None

    @property
    def cooldown(self) -> float:
        """Seconds in which nothing should be sent; 0 when quota is left."""
        used_up = [
            reset or 0.0
            for left, reset in (
                (self.requests, self.requests_reset),
                (self.tokens, self.tokens_reset),
            )
            if left == 0
        ]
        return min(_MINUTE, max(used_up, default=0.0))


@dataclass(frozen=True, slots=True)
class LimitClient:
    """What one process last reported for a model."""

    in_flight: int
    #: Whether it has calls that wait.
    waiting: bool
    #: When its calls no longer count unless it reports again.
    expires_at: float
    #: Its limit of calls in flight while the provider throttles it; None is no limit.
    adaptive_limit: int | None = None
    #: Until when the model's circuit is open in that process.
    circuit_open_until: float = 0.0


@dataclass(frozen=True, slots=True)
class SharedLimitState:
    """The state that all processes share for a model."""

    #: Earliest time of the next call by the request limit, and by the token limit.
    next_request_at: float = 0.0
    next_tokens_at: float = 0.0
    clients: Mapping[str, LimitClient] = field(default_factory=dict)
    #: When it was last changed.
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitRequest:
    """What a process reports and asks for."""

    client_id: str
    #: Calls it has in flight.
    in_flight: int
    #: Tokens of each waiting call, in their order.
    token_costs: Sequence[int] = ()
    #: Reserved tokens that were not used; negative when more were used.
    refund: int = 0
    #: Seconds in which the provider accepts no requests.
    cooldown: float = 0.0
    adaptive_limit: int | None = None
    #: Seconds for which the model's circuit stays open.
    circuit_open_for: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitGrant:
    #: Seconds from now until each granted call is sent, in the order of the request.
    send_delays: tuple[float, ...]
    #: Seconds until another request can be granted; 0 when all were granted or slots are missing.
    ask_again_in: float
    #: Whether another process waits for a slot.
    contested: bool


def initial_state(now: float) -> SharedLimitState:
    """The state of a model without a stored one."""
    return SharedLimitState(next_request_at=now + COLD_START_DELAY)


def grant_permits(
    state: SharedLimitState, limits: RateLimits, request: LimitRequest, now: float
) -> tuple[SharedLimitState, LimitGrant]:
    """Grant what the limits allow.

    Not idempotent: a repeated request is granted again, but never beyond the limits. When the clock
    was ahead and has gone back, all stored times shift by as much.
    """
    shift = max(0.0, state.updated_at - now)
    others = {
        name: replace(client, expires_at=client.expires_at - shift) if shift else client
        for name, client in state.clients.items()
        if client.expires_at - shift > now and name != request.client_id
    }
    waiting_clients = sum(client.waiting for client in others.values())
    capacity: float = inf
    if limits.max_in_flight is not None:
        taken = sum(client.in_flight for client in others.values()) + request.in_flight
        share = -(-limits.max_in_flight // (1 + waiting_clients))
        capacity = max(0, min(limits.max_in_flight - taken, share - request.in_flight))
    requests = state.next_request_at - shift
    if request.cooldown:
        requests = max(requests, now + request.cooldown)
    tokens = state.next_tokens_at - shift - request.refund * limits.seconds_per_token
    delays: list[float] = []
    ask_again_in = 0.0
    for cost in request.token_costs:
        send_at = max(now, requests, tokens)
        if len(delays) >= capacity:
            break
        if send_at > now + GRANT_HORIZON:
            ask_again_in = send_at - now - GRANT_HORIZON
            break
        delays.append(send_at - now)
        requests, tokens = (
            send_at + limits.seconds_per_request,
            send_at + cost * limits.seconds_per_token,
        )
    still_waits = len(delays) < len(request.token_costs)
    in_flight = request.in_flight + len(delays)
    if in_flight or still_waits or request.adaptive_limit is not None or request.circuit_open_for:
        open_until = now + request.circuit_open_for if request.circuit_open_for else 0.0
        others[request.client_id] = LimitClient(
            in_flight, still_waits, now + CLIENT_LEASE, request.adaptive_limit, open_until
        )
    after = SharedLimitState(requests, tokens, others, now)
    return after, LimitGrant(tuple(delays), ask_again_in, contested=waiting_clients > 0)


@dataclass(frozen=True, slots=True)
class AdaptiveConcurrency:
    """Limits the calls in flight of a process while a provider throttles it (AIMD).

    The limit is halved when more than a tolerated share of calls is throttled, and grows by one for
    each full round of successful calls.
    """

    #: Calls in flight; None is no limit.
    limit: float | None = None
    #: When the limit was last halved.
    cut_at: float = -inf
    #: Moving average of the share of throttled calls.
    throttled_share: float = 0.0

    def allows(self, in_flight: int) -> bool:
        return self.limit is None or in_flight < int(self.limit)

    def throttled(self, in_flight: int, sent_at: float, now: float) -> "AdaptiveConcurrency":
        """The state after a call sent at ``sent_at`` was throttled."""
        share = self.throttled_share + (1 - self.throttled_share) / max(_SAMPLE_CALLS, in_flight)
        if share <= _TOLERATED_SHARE or sent_at < self.cut_at:
            # A call sent before the last cut says nothing about the lower limit.
            return replace(self, throttled_share=share)
        limit = in_flight if self.limit is None else min(self.limit, in_flight)
        return AdaptiveConcurrency(max(1.0, limit / 2), now, share)

    def succeeded(self, in_flight: int, capacity: int) -> "AdaptiveConcurrency":
        """The state after a successful call; an unused limit does not grow."""
        if self.limit is None and not self.throttled_share:
            return self
        share = self.throttled_share * (1 - 1 / max(_SAMPLE_CALLS, in_flight))
        limit = self.limit
        if limit is not None and in_flight + 1 >= int(limit):
            limit += 1 / limit
        share = share if share > _NEGLIGIBLE_SHARE else 0.0
        return AdaptiveConcurrency(
            None if limit is None or limit >= capacity else limit, self.cut_at, share
        )


def _min_or_none(one: int | None, other: int | None) -> int | None:
    return min((n for n in (one, other) if n is not None), default=None)
