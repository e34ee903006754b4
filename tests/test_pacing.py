"""Circuit breaker, adaptive concurrency and retries together, with a simulated clock and seeded randomness."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest

from archon_batch.calls.circuit_breaker import CircuitBreaker
from archon_batch.errors import RateLimitError
from archon_batch.rate_limits import AdaptiveConcurrency
from archon_batch.retry_policy import AttemptHistory, Retry, decide

#: From the time and the calls in flight: whether a request is answered, and the Retry-After in
#: seconds, or None, if it is not.
Provider = Callable[[float, int], tuple[bool, float | None]]


@dataclass
class Simulation:
    """Simulates a process with a number of calls, and counts the outcomes."""

    provider: Provider
    calls: int
    capacity: int
    #: Seconds that a rejection takes; an answer takes about half a second.
    refusal: float = 0.01

    now: float = 0.0
    answered: int = 0
    failed: int = 0
    rejected: int = 0
    #: The most requests for one call.
    most: int = 0
    _breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _concurrency: AdaptiveConcurrency = field(default_factory=AdaptiveConcurrency)
    #: End, call, start and outcome of each request in flight.
    _in_flight: list[tuple[float, int, float, tuple[bool, float | None]]] = field(
        default_factory=list
    )

    def run(self) -> "Simulation":
        rng = random.Random(1)  # noqa: S311
        waiting = [(0.0, call) for call in range(self.calls)]
        tried = [0] * self.calls
        while self.answered + self.failed < self.calls:
            while waiting and waiting[0][0] <= self.now and self._may_send():
                _, call = heappop(waiting)
                response = self.provider(self.now, len(self._in_flight) + 1)
                takes = rng.lognormvariate(-0.7, 0.4) if response[0] else self.refusal
                heappush(self._in_flight, (self.now + takes, call, self.now, response))
            self._sleep(waiting)
            while self._in_flight and self._in_flight[0][0] <= self.now:
                _, call, sent, response = heappop(self._in_flight)
                if response[0]:
                    self.answered += 1
                    self._breaker = self._breaker.succeeded()
                    self._concurrency = self._concurrency.succeeded(
                        len(self._in_flight), self.capacity
                    )
                    continue
                tried[call] += 1
                self._reject(call, sent, response[1], tried[call], rng, waiting)
        self.rejected, self.most = sum(tried), max(tried) + 1
        return self

    @property
    def rate(self) -> float:
        return self.answered / self.now

    def _may_send(self) -> bool:
        out = len(self._in_flight)
        if (
            out >= self.capacity
            or not self._concurrency.allows(out)
            or self._breaker.seconds_to_wait(self.now)
        ):
            return False
        if self._breaker.blocks(self.now):
            self._breaker = self._breaker.half_open(self.now)
        return True

    def _sleep(self, waiting: list[tuple[float, int]]) -> None:
        """Advance the clock until a call ends, or another may be sent."""
        wakes = [self._in_flight[0][0]] if self._in_flight else []
        if waiting:
            ready = max(waiting[0][0], self.now + self._breaker.seconds_to_wait(self.now))
            wakes += [ready] if ready > self.now else []
        self.now = min(wakes)

    def _reject(
        self,
        call: int,
        sent: float,
        retry_after: float | None,
        tried: int,
        rng: random.Random,
        waiting: list[tuple[float, int]],
    ) -> None:
        error, out = RateLimitError("m", "no", retry_after), len(self._in_flight)
        self._concurrency = self._concurrency.throttled(out + 1, sent, self.now)
        self._breaker = self._breaker.failed(error, self.now, rng.random(), out)
        down_for = self._breaker.down_for(self.now)
        verdict = decide(error, AttemptHistory(tried, rate_limited=tried), rng.random(), down_for)
        if isinstance(verdict, Retry):
            heappush(waiting, (self.now + verdict.seconds, call))
        else:
            self.failed += 1


def by_chance(share: float, retry_after: float | None = None) -> Provider:
    rng = random.Random(2)  # noqa: S311
    return lambda _now, _in_flight: (rng.random() >= share, retry_after)


def a_window(calls: int, seconds: float) -> Provider:
    """Accepts a number of calls in each window; Retry-After is the rest of the window."""
    used: dict[int, int] = {}

    def respond(now: float, _in_flight: int) -> tuple[bool, float | None]:
        window = int(now // seconds)
        used[window] = used.get(window, 0) + 1
        return used[window] <= calls, (window + 1) * seconds - now

    return respond


@pytest.mark.parametrize("capacity", [4, 64, 256])
@pytest.mark.parametrize(("share", "least"), [(0.005, 0.97), (0.05, 0.9), (0.1, 0.8)])
def test_a_few_rejections_with_retry_after_slow_a_job_by_no_more_than_their_share(
    capacity, share, least
):
    calls = 1000 + 30 * capacity

    without = Simulation(by_chance(0.0), calls, capacity).run()
    with_some = Simulation(by_chance(share, 1.0), calls, capacity).run()

    assert with_some.rate >= least * without.rate


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(("share", "seconds"), [(0.5, 400), (0.7, 900)])
def test_every_call_is_answered_however_many_are_rejected_at_random(retry_after, share, seconds):
    simulation = Simulation(by_chance(share, retry_after), 300, 64).run()

    assert (simulation.answered, simulation.failed) == (300, 0)
    assert simulation.now < seconds
    # The expected number of requests per call; and no call is sent a hundred times.
    assert simulation.rejected <= 1.3 * 300 * share / (1 - share)
    assert simulation.most <= 30


@pytest.mark.parametrize("capacity", [8, 64])
def test_a_limit_of_ten_calls_a_minute_costs_few_rejections(capacity):
    simulation = Simulation(a_window(10, 60), 60, capacity).run()

    assert (simulation.answered, simulation.failed) == (60, 0)
    assert simulation.now < 310
    # The first burst, and then as many in each minute as it takes to detect the limit.
    assert simulation.rejected <= 60 + 5 * 12


def test_a_model_with_a_rate_limit_gets_its_rate_and_little_more():
    tokens, last = 20.0, 0.0

    def respond(now: float, _in_flight: int) -> tuple[bool, float | None]:
        nonlocal tokens, last
        tokens, last = min(20.0, tokens + 20 * (now - last)), now
        if tokens < 1:
            return False, 1.0
        tokens -= 1
        return True, None

    simulation = Simulation(respond, 4000, 64).run()

    assert simulation.rate >= 0.95 * 20
    assert simulation.rejected <= 0.12 * 4000


def test_a_model_with_a_concurrency_limit_gets_about_as_many_calls():
    simulation = Simulation(lambda _now, out: (out <= 8, None), 2000, 64).run()

    assert simulation.rejected <= 0.25 * 2000
    assert simulation.rate >= 0.75 * 8 / 0.54


def test_a_model_that_answers_no_call_fails_them_in_a_quarter_of_an_hour():
    simulation = Simulation(by_chance(1.0), 64, 64).run()

    assert simulation.failed == 64
    assert 900 <= simulation.now < 1100
    assert simulation.rejected < 64 * 6
