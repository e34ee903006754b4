"""Pacing: breaker, width and retries together, in a process whose clock and dice are a test's."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest

from archon_batch.calls.circuit_breaker import CircuitBreaker
from archon_batch.errors import RateLimitError
from archon_batch.money import AttemptHistory, Retry, decide
from archon_batch.rate_limits import AdaptiveConcurrency

#: Whether a request is answered at this moment, with so many in flight; else the seconds that the
#: provider asks for, and None when it asks for none.
Provider = Callable[[float, int], tuple[bool, float | None]]


@dataclass
class Night:
    """A process with so many calls to make, and what comes of them."""

    provider: Provider
    calls: int
    room: int
    #: Seconds that a refusal takes; an answer takes about half a second.
    refusal: float = 0.01

    now: float = 0.0
    answered: int = 0
    given_up: int = 0
    refused: int = 0
    #: The most requests for one call.
    most: int = 0
    _breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _width: AdaptiveConcurrency = field(default_factory=AdaptiveConcurrency)
    #: When each request ends, its call, when it was sent, and how it was met.
    _out: list[tuple[float, int, float, tuple[bool, float | None]]] = field(default_factory=list)

    def run(self) -> "Night":
        dice = random.Random(1)  # noqa: S311
        waiting = [(0.0, call) for call in range(self.calls)]
        tried = [0] * self.calls
        while self.answered + self.given_up < self.calls:
            while waiting and waiting[0][0] <= self.now and self._goes():
                _, call = heappop(waiting)
                met = self.provider(self.now, len(self._out) + 1)
                takes = dice.lognormvariate(-0.7, 0.4) if met[0] else self.refusal
                heappush(self._out, (self.now + takes, call, self.now, met))
            self._sleep(waiting)
            while self._out and self._out[0][0] <= self.now:
                _, call, sent, met = heappop(self._out)
                if met[0]:
                    self.answered += 1
                    self._breaker = self._breaker.succeeded()
                    self._width = self._width.succeeded(len(self._out), self.room)
                    continue
                tried[call] += 1
                self._push(call, sent, met[1], tried[call], dice, waiting)
        self.refused, self.most = sum(tried), max(tried) + 1
        return self

    @property
    def rate(self) -> float:
        return self.answered / self.now

    def _goes(self) -> bool:
        out = len(self._out)
        if (
            out >= self.room
            or not self._width.allows(out)
            or self._breaker.seconds_to_wait(self.now)
        ):
            return False
        if self._breaker.blocks(self.now):
            self._breaker = self._breaker.half_open(self.now)
        return True

    def _sleep(self, waiting: list[tuple[float, int]]) -> None:
        """Until a call comes back, or another may go."""
        wakes = [self._out[0][0]] if self._out else []
        if waiting:
            ready = max(waiting[0][0], self.now + self._breaker.seconds_to_wait(self.now))
            wakes += [ready] if ready > self.now else []
        self.now = min(wakes)

    def _push(
        self,
        call: int,
        sent: float,
        asked: float | None,
        tried: int,
        dice: random.Random,
        waiting: list[tuple[float, int]],
    ) -> None:
        error, out = RateLimitError("m", "no", asked), len(self._out)
        self._width = self._width.throttled(out + 1, sent, self.now)
        self._breaker = self._breaker.failed(error, self.now, dice.random(), out)
        away = self._breaker.down_for(self.now)
        verdict = decide(error, AttemptHistory(tried, rate_limited=tried), dice.random(), away)
        if isinstance(verdict, Retry):
            heappush(waiting, (self.now + verdict.seconds, call))
        else:
            self.given_up += 1


def by_chance(share: float, asked: float | None = None) -> Provider:
    dice = random.Random(2)  # noqa: S311
    return lambda _now, _out: (dice.random() >= share, asked)


def a_window(calls: int, seconds: float) -> Provider:
    """So many calls in each window, and how long the rest of it is."""
    used: dict[int, int] = {}

    def meet(now: float, _out: int) -> tuple[bool, float | None]:
        window = int(now // seconds)
        used[window] = used.get(window, 0) + 1
        return used[window] <= calls, (window + 1) * seconds - now

    return meet


@pytest.mark.parametrize("room", [4, 64, 256])
@pytest.mark.parametrize(("share", "least"), [(0.005, 0.97), (0.05, 0.9), (0.1, 0.8)])
def test_a_few_refusals_with_a_retry_after_slow_a_job_by_no_more_than_their_share(
    room, share, least
):
    calls = 1000 + 30 * room

    without = Night(by_chance(0.0), calls, room).run()
    with_some = Night(by_chance(share, 1.0), calls, room).run()

    assert with_some.rate >= least * without.rate


@pytest.mark.parametrize("asked", [None, 1.0])
@pytest.mark.parametrize(("share", "seconds"), [(0.5, 400), (0.7, 900)])
def test_however_many_are_refused_at_random_every_call_is_answered(asked, share, seconds):
    night = Night(by_chance(share, asked), 300, 64).run()

    assert (night.answered, night.given_up) == (300, 0)
    assert night.now < seconds
    # Of a share, that many requests a call on average; and nobody is asked a hundred times.
    assert night.refused <= 1.3 * 300 * share / (1 - share)
    assert night.most <= 30


@pytest.mark.parametrize("room", [8, 64])
def test_ten_calls_a_minute_are_had_with_few_refusals(room):
    night = Night(a_window(10, 60), 60, room).run()

    assert (night.answered, night.given_up) == (60, 0)
    assert night.now < 310
    # Those of the first burst, and then as many in each minute as it takes to know.
    assert night.refused <= 60 + 5 * 12


def test_a_model_that_has_a_rate_gets_it_and_little_more():
    tokens, last = 20.0, 0.0

    def meet(now: float, _out: int) -> tuple[bool, float | None]:
        nonlocal tokens, last
        tokens, last = min(20.0, tokens + 20 * (now - last)), now
        if tokens < 1:
            return False, 1.0
        tokens -= 1
        return True, None

    night = Night(meet, 4000, 64).run()

    assert night.rate >= 0.95 * 20
    assert night.refused <= 0.12 * 4000


def test_a_model_that_takes_so_many_at_once_gets_about_as_many():
    night = Night(lambda _now, out: (out <= 8, None), 2000, 64).run()

    assert night.refused <= 0.25 * 2000
    assert night.rate >= 0.75 * 8 / 0.54


def test_a_model_that_answers_nobody_ends_its_calls_in_a_quarter_of_an_hour():
    night = Night(by_chance(1.0), 64, 64).run()

    assert night.given_up == 64
    assert 900 <= night.now < 1100
    assert night.refused < 64 * 6
