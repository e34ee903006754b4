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
USED = 0.97
#: Seconds after its moment when a call may still be sent.
LATE = 1.0
#: Seconds ahead for which moments are given out, so that nobody asks for each call by itself.
AHEAD = 0.5
#: Seconds between two exchanges of a process that holds places, and after which they come back.
RENEW, LEASE = 0.5, 30.0
#: Seconds before anything goes when nothing is known: moments that were given out before are over
#: then, and everybody has said what is in flight.
UNKNOWN = 1.0
#: Calls that may be asked for in one exchange.
MOST_WISHES = 256

_MINUTE = 60.0
#: Calls by which the share that is turned away is judged, unless more are in flight; and what of
#: them may be turned away without a meaning, and what is as good as none.
_LAST, _FEW, _NONE = 32, 0.2, 0.001


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for a model over all workers; None is no limit."""

    #: Requests a minute.
    rpm: int | None = None
    #: Tokens a minute, of prompts and replies together.
    tpm: int | None = None
    #: Calls at once.
    max_in_flight: int | None = None

    def __bool__(self) -> bool:
        return self.paced or self.max_in_flight is not None

    @property
    def paced(self) -> bool:
        """Whether each call has its moment."""
        return self.rpm is not None or self.tpm is not None

    @property
    def request(self) -> float:
        """Seconds from one request to the next."""
        return _MINUTE / (self.rpm * USED) if self.rpm else 0.0

    @property
    def token(self) -> float:
        """Seconds that a token takes."""
        return _MINUTE / (self.tpm * USED) if self.tpm else 0.0

    def lower(self, other: "Limits") -> "Limits":
        return Limits(
            _lower(self.rpm, other.rpm),
            _lower(self.tpm, other.tpm),
            _lower(self.max_in_flight, other.max_in_flight),
        )

    def instead(self, other: "Limits") -> "Limits":
        """These where they are set, the other's where not."""
        return Limits(
            other.rpm if self.rpm is None else self.rpm,
            other.tpm if self.tpm is None else self.tpm,
            other.max_in_flight if self.max_in_flight is None else self.max_in_flight,
        )


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a provider says of its own limits, beside an answer or a refusal; None is unsaid."""

    requests: int | None = None
    tokens: int | None = None
    #: Seconds until there is as much of each again as there can be.
    requests_reset: float | None = None
    tokens_reset: float | None = None

    @property
    def rest(self) -> float:
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
class Holder:
    """What one process has of a model, as it last said."""

    held: int
    #: Whether it has calls that wait for a place.
    hungry: bool
    #: When its places come back unless it is heard of.
    until: float
    #: Calls that it lets out at once while the provider pushes back; None is as many as it has.
    width: int | None = None
    #: Until when its calls wait for the model to answer again.
    parked: float = 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """What is shared of a model: when the next may go, and who holds what."""

    requests: float = 0.0
    tokens: float = 0.0
    holders: Mapping[str, Holder] = field(default_factory=dict)
    #: When it was last asked.
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a process says and asks of a model."""

    holder: str
    #: Places it holds now.
    held: int
    #: Tokens of each call that waits, the first first.
    costs: Sequence[int] = ()
    #: Tokens that were reserved and not used; below 0 what was used beyond.
    back: int = 0
    #: Seconds in which the provider wants nothing.
    rest: float = 0.0
    width: int | None = None
    #: Seconds for which its calls wait for the model to answer again.
    parked: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    #: Seconds from now at which each call that may go is to go; the first are for the first.
    moments: tuple[float, ...]
    #: Seconds before it is of use to ask for more.
    wait: float
    #: Whether another process waits for a place.
    contested: bool


def unknown(now: float) -> Meter:
    """What is known of a model of which there is no record."""
    return Meter(requests=now + UNKNOWN)


def grant(meter: Meter, limits: Limits, wish: Wish, now: float) -> tuple[Meter, Grant]:
    """Give out what there is. Said twice it is given out twice, and never more than there is.

    A clock that was ahead and is right again has gone back: what it said is as much too late.
    """
    back = max(0.0, meter.at - now)
    others = {
        name: replace(holder, until=holder.until - back) if back else holder
        for name, holder in meter.holders.items()
        if holder.until - back > now and name != wish.holder
    }
    hungry = sum(holder.hungry for holder in others.values())
    room: float = inf
    if limits.max_in_flight is not None:
        taken = sum(holder.held for holder in others.values()) + wish.held
        share = -(-limits.max_in_flight // (1 + hungry))
        room = max(0, min(limits.max_in_flight - taken, share - wish.held))
    requests = meter.requests - back
    if wish.rest:
        requests = max(requests, now + wish.rest)
    tokens = meter.tokens - back - wish.back * limits.token
    moments: list[float] = []
    wait = 0.0
    for cost in wish.costs:
        moment = max(now, requests, tokens)
        if len(moments) >= room:
            break
        if moment > now + AHEAD:
            wait = moment - now - AHEAD
            break
        moments.append(moment - now)
        requests, tokens = moment + limits.request, moment + cost * limits.token
    left = len(moments) < len(wish.costs)
    held = wish.held + len(moments)
    if held or left or wish.width is not None or wish.parked:
        parked = now + wish.parked if wish.parked else 0.0
        others[wish.holder] = Holder(held, left, now + LEASE, wish.width, parked)
    after = Meter(requests, tokens, others, now)
    return after, Grant(tuple(moments), wait, contested=hungry > 0)


@dataclass(frozen=True, slots=True)
class Width:
    """How many calls a process lets out at once: fewer when a provider pushes back.

    It is halved when more than a few of the calls are turned away, and grows by one in the time in
    which as many are answered. A few may be turned away at any width, and are no reason.
    """

    #: None is as many as there are.
    most: float | None = None
    #: When it was last halved.
    cut: float = -inf
    #: The part of the last calls that was turned away.
    share: float = 0.0

    def lets(self, in_flight: int) -> bool:
        return self.most is None or in_flight < int(self.most)

    def pushed(self, in_flight: int, sent: float, now: float) -> "Width":
        """After a call that was sent at ``sent`` was turned away, with so many in flight."""
        share = self.share + (1 - self.share) / max(_LAST, in_flight)
        if share <= _FEW or sent < self.cut:
            # Or it left before the last cut, which has answered it.
            return replace(self, share=share)
        most = in_flight if self.most is None else min(self.most, in_flight)
        return Width(max(1.0, most / 2), now, share)

    def answered(self, in_flight: int, room: int) -> "Width":
        """After an answer; of a width that nobody uses nothing is learnt."""
        if self.most is None and not self.share:
            return self
        share = self.share * (1 - 1 / max(_LAST, in_flight))
        most = self.most
        if most is not None and in_flight + 1 >= int(most):
            most += 1 / most
        share = share if share > _NONE else 0.0
        return Width(None if most is None or most >= room else most, self.cut, share)


def _lower(one: int | None, other: int | None) -> int | None:
    return min((n for n in (one, other) if n is not None), default=None)
