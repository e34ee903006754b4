"""The circuit breaker: opens at its threshold, waits within a bound, and always probes again."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.calls.circuit_breaker import (
    FAILURE_THRESHOLD,
    RATE_LIMIT_THRESHOLD,
    CircuitBreaker,
)
from archon_batch.errors import (
    BadCallError,
    BrokenReplyError,
    CallTimeoutError,
    CredentialsError,
    ProviderDownError,
    ProviderError,
    RateLimitError,
    RefusedError,
    UnreachableError,
)
from archon_batch.retry_policy import MAX_BACKOFF, MAX_OUTAGE, MAX_RETRY_AFTER

DOWN = ProviderDownError("m", "down")
#: Errors, and the consecutive failures that open the circuit.
TRANSIENT = [
    (ProviderDownError, FAILURE_THRESHOLD),
    (UnreachableError, FAILURE_THRESHOLD),
    (CallTimeoutError, FAILURE_THRESHOLD),
    (BrokenReplyError, FAILURE_THRESHOLD),
    (RateLimitError, RATE_LIMIT_THRESHOLD),
]

jitters = st.floats(0, 1)


def rate_limited(seconds: float | None) -> RateLimitError:
    return RateLimitError("m", "slow down", seconds)


def after(*errors: ProviderError, now: float = 0.0) -> CircuitBreaker:
    """The state after these errors at one time, with the longest jitter."""
    return reduce(lambda breaker, error: breaker.failed(error, now, 1.0), errors, CircuitBreaker())


def opened(now: float = 0.0) -> CircuitBreaker:
    return after(*[DOWN] * FAILURE_THRESHOLD, now=now)


@pytest.mark.parametrize(("error", "most"), TRANSIENT)
def test_it_opens_after_the_threshold_of_consecutive_failures_and_not_before(error, most):
    failure = error("m", "no")

    nearly = after(*[failure] * (most - 1))

    assert (nearly.seconds_to_wait(0), nearly.blocks(0), nearly.down_for(0)) == (0, False, None)
    full = nearly.failed(failure, 0, 1.0)
    assert (full.seconds_to_wait(0), full.blocks(0), full.down_for(7)) == (2, True, 7)


def test_thresholds_and_bounds():
    assert (FAILURE_THRESHOLD, RATE_LIMIT_THRESHOLD) == (5, 16)
    assert (MAX_BACKOFF, MAX_RETRY_AFTER, MAX_OUTAGE) == (60, 600, 900)


@pytest.mark.parametrize("answer", [None, RefusedError, BadCallError, CredentialsError])
def test_an_answer_resets_the_count_of_failures(answer):
    nearly = after(*[DOWN] * (FAILURE_THRESHOLD - 1))
    alive = nearly.failed(answer("m", "no"), 0, 1.0) if answer else nearly.succeeded()

    assert alive.failed(DOWN, 0, 1.0).seconds_to_wait(0) == 0


def test_failures_of_calls_sent_before_it_opened_do_not_lengthen_the_wait():
    breaker = opened()

    for _ in range(100):
        breaker = breaker.failed(DOWN, 1, 1.0)

    assert breaker.seconds_to_wait(1) == 1


def test_each_failed_probe_doubles_the_wait_up_to_the_maximum():
    breaker, now, waits = opened(), 0.0, []
    for _ in range(8):
        waits.append(breaker.seconds_to_wait(now))
        now += waits[-1]
        breaker = breaker.half_open(now).failed(DOWN, now, 1.0)

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


@given(jitter=jitters)
def test_jitter_spreads_a_wait_over_its_upper_half(jitter):
    assert 1 <= after(*[DOWN] * 4).failed(DOWN, 0, jitter).seconds_to_wait(0) <= 2


def test_while_a_probe_is_in_flight_no_other_call_is_sent():
    breaker = opened().half_open(2)

    assert breaker.blocks(2)
    assert breaker.seconds_to_wait(2) == MAX_BACKOFF


def test_a_probe_that_never_ends_is_followed_by_another():
    breaker = opened().half_open(2)

    assert breaker.seconds_to_wait(2 + MAX_BACKOFF) == 0
    assert breaker.blocks(2 + MAX_BACKOFF)
    assert breaker.half_open(62).seconds_to_wait(62) == MAX_BACKOFF


def test_a_second_failure_after_a_probe_does_not_lengthen_the_wait_again():
    failed = opened().half_open(2).failed(DOWN, 3, 1.0)

    assert failed.seconds_to_wait(3) == 4
    assert failed.failed(DOWN, 3, 1.0).seconds_to_wait(3) == 4


@pytest.mark.parametrize("breaker", [opened(), opened().half_open(2)])
def test_a_success_closes_it(breaker):
    assert breaker.succeeded() == CircuitBreaker()


def refused(times: int, retry_after: float | None, in_flight: int = 0) -> CircuitBreaker:
    """The state after ``times`` rejections while ``in_flight`` calls are in flight."""
    breaker = CircuitBreaker()
    for _ in range(times):
        breaker = breaker.failed(rate_limited(retry_after), 0, 1.0, in_flight)
    return breaker


@pytest.mark.parametrize("retry_after", [None, 1.0, 30.0])
def test_a_single_retry_after_holds_only_for_its_own_call(retry_after):
    breaker = refused(FAILURE_THRESHOLD - 1, retry_after)

    assert (breaker.seconds_to_wait(0), breaker.blocks(0), breaker.down_for(0)) == (0, False, None)


@pytest.mark.parametrize(
    ("retry_after", "waits"), [(1.0, 1), (30.0, 30), (1e9, 600), (float("inf"), 600)]
)
def test_when_every_call_is_rejected_the_retry_after_holds_for_the_whole_model(retry_after, waits):
    breaker = refused(FAILURE_THRESHOLD, retry_after)

    assert breaker.seconds_to_wait(0) == waits
    assert breaker.blocks(0)


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.5, -9.0])
def test_a_retry_after_below_the_first_backoff_is_an_ordinary_rejection(retry_after):
    assert not refused(RATE_LIMIT_THRESHOLD - 1, retry_after).blocks(0)
    assert refused(RATE_LIMIT_THRESHOLD, retry_after).blocks(0)


def test_rejections_open_it_only_when_they_outnumber_the_calls_in_flight():
    # Of calls sent together, the rejected ones end first.
    assert not refused(40, 30.0, in_flight=41).blocks(0)
    assert refused(41, 30.0, in_flight=41).seconds_to_wait(0) == 30


def test_other_failures_open_it_however_many_calls_are_in_flight():
    breaker = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD):
        breaker = breaker.failed(DOWN, 0, 1.0, 500)

    assert breaker.blocks(0)


def test_a_daily_limit_opens_it_at_the_lower_threshold_and_its_hours_are_not_waited_for():
    error = rate_limited(21_600)
    error.long_wait_reason = "its limit lasts until noon"

    nearly, full = (after(*[error] * n) for n in (FAILURE_THRESHOLD - 1, FAILURE_THRESHOLD))

    assert (nearly.down_for(0), full.down_for(0)) == (None, 0)
    assert full.seconds_to_wait(0) == 2


def test_a_success_of_an_earlier_call_keeps_the_retry_after_in_force():
    breaker = refused(5, 30).succeeded()

    assert (breaker.seconds_to_wait(10), breaker.blocks(10)) == (20, True)
    # Then all calls are sent, since the provider answers.
    assert (breaker.seconds_to_wait(30), breaker.blocks(30)) == (0, False)


def test_after_the_retry_after_a_probe_is_sent_first():
    breaker = refused(RATE_LIMIT_THRESHOLD, 30)

    assert (breaker.seconds_to_wait(30), breaker.blocks(30)) == (0, True)
    assert breaker.half_open(30).seconds_to_wait(30) == MAX_BACKOFF


def test_a_longer_retry_after_extends_the_wait_and_a_shorter_one_does_not_shorten_it():
    assert refused(5, 30).failed(rate_limited(50), 0, 1.0).seconds_to_wait(0) == 50
    assert refused(5, 30).failed(rate_limited(5), 0, 1.0).seconds_to_wait(0) == 30


def failing(breaker: CircuitBreaker, seconds: float) -> tuple[CircuitBreaker, float]:
    """Let probes fail for so many seconds."""
    now = breaker.opened_at
    while (breaker.down_for(now) or 0) < seconds:
        now += breaker.seconds_to_wait(now)
        breaker = breaker.half_open(now).failed(DOWN, now, 1.0)
    return breaker, now


def test_after_the_longest_outage_calls_no_longer_wait():
    breaker, now = failing(opened(), MAX_OUTAGE)

    assert (breaker.seconds_to_wait(now), breaker.blocks(now)) == (0, False)
    more = breaker.failed(rate_limited(60), now + 800, 1.0)
    assert (more.seconds_to_wait(now + 1600), more.blocks(now + 1600)) == (0, False)
    assert (more.down_for(now + 1600) or 0) > MAX_OUTAGE
    assert more.succeeded() == CircuitBreaker(retry_after_until=more.retry_after_until)


def test_before_the_longest_outage_calls_wait():
    breaker, now = failing(opened(), MAX_OUTAGE - 60)

    assert breaker.blocks(now)
    assert 0 < breaker.seconds_to_wait(now) <= MAX_BACKOFF


def test_after_a_long_time_without_calls_the_outage_starts_over_with_a_probe():
    breaker, now = failing(opened(), MAX_OUTAGE)
    tomorrow = now + 86_400

    assert (breaker.seconds_to_wait(tomorrow), breaker.blocks(tomorrow)) == (0, True)
    failed = breaker.half_open(tomorrow).failed(DOWN, tomorrow + 1, 1.0)
    assert failed.down_for(tomorrow + 1) == 1
    assert 0 < failed.seconds_to_wait(tomorrow + 1) <= MAX_BACKOFF


events = st.lists(
    st.tuples(
        st.floats(0, 2000),
        st.sampled_from(["fails", "fails", "probe", "answers", "refuses"]) | st.floats(),
        jitters,
    )
)


def replay(history) -> tuple[CircuitBreaker, float]:
    breaker, now = CircuitBreaker(), 0.0
    for passed, event, jitter in history:
        now += passed
        if event == "probe":
            if breaker.blocks(now) and not breaker.seconds_to_wait(now):
                breaker = breaker.half_open(now)
        elif event == "answers":
            breaker = breaker.succeeded()
        elif event == "refuses":
            breaker = breaker.failed(RefusedError("m", "no"), now, jitter)
        else:
            error = DOWN if event == "fails" else rate_limited(event)
            breaker = breaker.failed(error, now, jitter)
    return breaker, now


@given(events)
def test_every_wait_is_bounded_and_then_a_call_may_be_sent(history):
    breaker, now = replay(history)

    waits = breaker.seconds_to_wait(now)
    assert 0 <= waits <= MAX_RETRY_AFTER + 1e-6
    assert breaker.seconds_to_wait(now + waits + 1e-6) == 0


@given(events)
def test_without_a_retry_after_no_wait_exceeds_the_longest_backoff(history):
    breaker, now = replay([s for s in history if isinstance(s[1], str)])

    assert breaker.seconds_to_wait(now) <= MAX_BACKOFF + 1e-6


@given(events)
def test_in_every_state_a_success_closes_it(history):
    breaker, now = replay(history)
    closed = breaker.succeeded()

    assert closed.down_for(now) is None
    assert closed.seconds_to_wait(now) == max(0, breaker.retry_after_until - now)
    assert not closed.blocks(now + MAX_RETRY_AFTER)


@given(events)
def test_in_every_state_one_probe_is_sent_at_a_time(history):
    breaker, now = replay(history)
    now += breaker.seconds_to_wait(now) + 1e-6

    if breaker.blocks(now):
        assert breaker.half_open(now).seconds_to_wait(now) == pytest.approx(MAX_BACKOFF)
