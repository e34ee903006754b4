"""Limits of a model: how many requests and tokens a minute, and how many calls at once.

Requests and tokens are evenly paced: each call moves the moment at which the next may go. So no
sliding minute holds more than is allowed, nothing need be remembered of the minute, and who knows
nothing of it begins again without harm. Moments are arguments, in seconds of whatever clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

#: The part of a limit that is used: a request that reaches the provider late, by up to what the
#: rest takes of a minute, is still in a minute that has room for it.
USABLE_SHARE = 0.97
#: Seconds after its moment when a call may still be sent.
MAX_LATENESS = 1.0
#: Seconds ahead for which moments are given out, so that nobody asks for each call by itself.
GRANT_HORIZON = 0.5
#: Seconds between two exchanges of a process that holds places, and after which they come back.
RENEW_INTERVAL, CLIENT_LEASE = 0.5, 30.0
#: Seconds before anything goes when nothing is known: moments that were given out before are over
#: then, and everybody has said what is in flight.
COLD_START_DELAY = 1.0
#: Calls that may be asked for in one exchange.
MAX_CALLS_PER_REQUEST = 256

_MINUTE = 60.0
#: Calls by which the share that is turned away is judged, unless more are in flight; and what of
#: them may be turned away without a meaning, and what is as good as none.
_SAMPLE_CALLS, _TOLERATED_SHARE, _NEGLIGIBLE_SHARE = 32, 0.2, 0.001


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What holds for a model over all workers; None is no limit."""

    #: Requests a minute.
    rpm: int | None = None
    #: Tokens a minute, of prompts and replies together.
    tpm: int | None = None
    #: Calls at once.
    max_in_flight: int | None = None

    def __bool__(self) -> bool:
        return self.is_paced or self.max_in_flight is not None

    @property
    def is_paced(self) -> bool:
        """Whether each call has its moment."""
        return self.rpm is not None or self.tpm is not None

    @property
    def seconds_per_request(self) -> float:
        """Seconds from one request to the next."""
        return _MINUTE / (self.rpm * USABLE_SHARE) if self.rpm else 0.0

    @property
    def seconds_per_token(self) -> float:
        """Seconds that a token takes."""
        return _MINUTE / (self.tpm * USABLE_SHARE) if self.tpm else 0.0

    def minimum(self, other: "RateLimits") -> "RateLimits":
        return RateLimits(
            _min_or_none(self.rpm, other.rpm),
            _min_or_none(self.tpm, other.tpm),
            _min_or_none(self.max_in_flight, other.max_in_flight),
        )

    def with_fallback(self, other: "RateLimits") -> "RateLimits":
        """These where they are set, the other's where not."""
        return RateLimits(
            other.rpm if self.rpm is None else self.rpm,
            other.tpm if self.tpm is None else self.tpm,
            other.max_in_flight if self.max_in_flight is None else self.max_in_flight,
        )


@dataclass(frozen=True, slots=True)
class RemainingLimits:
    """What a provider says of its own limits, beside an answer or a refusal; None is unsaid."""

    requests: int | None = None
    tokens: int | None = None
    #: Seconds until there is as much of each again as there can be.
    requests_reset: float | None = None
    tokens_reset: float | None = None

    @property
    def cooldown(self) -> float:
        """Seconds in which nothing should be sent; 0 when there is something left."""
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
    """What one process has of a model, as it last said."""

    in_flight: int
    #: Whether it has calls that wait for a place.
    waiting: bool
    #: When its places come back unless it is heard of.
    expires_at: float
    #: Calls that it lets out at once while the provider pushes back; None is as many as it has.
    adaptive_limit: int | None = None
    #: Until when its calls wait for the model to answer again.
    circuit_open_until: float = 0.0


@dataclass(frozen=True, slots=True)
class SharedLimitState:
    """What is shared of a model: when the next may go, and who holds what."""

    next_request_at: float = 0.0
    next_tokens_at: float = 0.0
    clients: Mapping[str, LimitClient] = field(default_factory=dict)
    #: When it was last asked.
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitRequest:
    """What a process says and asks of a model."""

    client_id: str
    #: Places it holds now.
    in_flight: int
    #: Tokens of each call that waits, the first first.
    token_costs: Sequence[int] = ()
    #: Tokens that were reserved and not used; below 0 what was used beyond.
    refund: int = 0
    #: Seconds in which the provider wants nothing.
    cooldown: float = 0.0
    adaptive_limit: int | None = None
    #: Seconds for which its calls wait for the model to answer again.
    circuit_open_for: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitGrant:
    #: Seconds from now at which each call that may go is to go; the first are for the first.
    send_delays: tuple[float, ...]
    #: Seconds before it is of use to ask for more.
    ask_again_in: float
    #: Whether another process waits for a place.
    contested: bool


def initial_state(now: float) -> SharedLimitState:
    """What is known of a model of which there is no record."""
    return SharedLimitState(next_request_at=now + COLD_START_DELAY)


def grant_permits(
    state: SharedLimitState, limits: RateLimits, request: LimitRequest, now: float
) -> tuple[SharedLimitState, LimitGrant]:
    """Give out what there is. Said twice it is given out twice, and never more than there is.

    A clock that was ahead and is right again has gone back: what it said is as much too late.
    """
    back = max(0.0, state.updated_at - now)
    others = {
        name: replace(holder, expires_at=holder.expires_at - back) if back else holder
        for name, holder in state.clients.items()
        if holder.expires_at - back > now and name != request.client_id
    }
    hungry = sum(holder.waiting for holder in others.values())
    room: float = inf
    if limits.max_in_flight is not None:
        taken = sum(holder.in_flight for holder in others.values()) + request.in_flight
        share = -(-limits.max_in_flight // (1 + hungry))
        room = max(0, min(limits.max_in_flight - taken, share - request.in_flight))
    requests = state.next_request_at - back
    if request.cooldown:
        requests = max(requests, now + request.cooldown)
    tokens = state.next_tokens_at - back - request.refund * limits.seconds_per_token
    moments: list[float] = []
    wait = 0.0
    for cost in request.token_costs:
        moment = max(now, requests, tokens)
        if len(moments) >= room:
            break
        if moment > now + GRANT_HORIZON:
            wait = moment - now - GRANT_HORIZON
            break
        moments.append(moment - now)
        requests, tokens = (
            moment + limits.seconds_per_request,
            moment + cost * limits.seconds_per_token,
        )
    left = len(moments) < len(request.token_costs)
    held = request.in_flight + len(moments)
    if held or left or request.adaptive_limit is not None or request.circuit_open_for:
        parked = now + request.circuit_open_for if request.circuit_open_for else 0.0
        others[request.client_id] = LimitClient(
            held, left, now + CLIENT_LEASE, request.adaptive_limit, parked
        )
    after = SharedLimitState(requests, tokens, others, now)
    return after, LimitGrant(tuple(moments), wait, contested=hungry > 0)


@dataclass(frozen=True, slots=True)
class AdaptiveConcurrency:
    """How many calls a process lets out at once: fewer when a provider pushes back.

    It is halved when more than a few of the calls are turned away, and grows by one in the time in
    which as many are answered. A few may be turned away at any width, and are no reason.
    """

    #: None is as many as there are.
    limit: float | None = None
    #: When it was last halved.
    cut_at: float = -inf
    #: The part of the last calls that was turned away.
    throttled_share: float = 0.0

    def allows(self, in_flight: int) -> bool:
        return self.limit is None or in_flight < int(self.limit)

    def throttled(self, in_flight: int, sent_at: float, now: float) -> "AdaptiveConcurrency":
        """After a call that was sent at ``sent_at`` was turned away, with so many in flight."""
        share = self.throttled_share + (1 - self.throttled_share) / max(_SAMPLE_CALLS, in_flight)
        if share <= _TOLERATED_SHARE or sent_at < self.cut_at:
            # Or it left before the last cut, which has answered it.
            return replace(self, throttled_share=share)
        most = in_flight if self.limit is None else min(self.limit, in_flight)
        return AdaptiveConcurrency(max(1.0, most / 2), now, share)

    def succeeded(self, in_flight: int, capacity: int) -> "AdaptiveConcurrency":
        """After an answer; of a width that nobody uses nothing is learnt."""
        if self.limit is None and not self.throttled_share:
            return self
        share = self.throttled_share * (1 - 1 / max(_SAMPLE_CALLS, in_flight))
        most = self.limit
        if most is not None and in_flight + 1 >= int(most):
            most += 1 / most
        share = share if share > _NEGLIGIBLE_SHARE else 0.0
        return AdaptiveConcurrency(
            None if most is None or most >= capacity else most, self.cut_at, share
        )


def _min_or_none(one: int | None, other: int | None) -> int | None:
    return min((n for n in (one, other) if n is not None), default=None)
