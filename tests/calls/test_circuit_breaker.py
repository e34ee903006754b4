"""The breaker: opens after so many failures, waits within a bound, and always asks again."""

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
from archon_batch.money import MAX_BACKOFF, MAX_OUTAGE, MAX_RETRY_AFTER

DOWN = ProviderDownError("m", "down")
#: The failures in a row after which it opens.
TRANSIENT = [
    (ProviderDownError, FAILURE_THRESHOLD),
    (UnreachableError, FAILURE_THRESHOLD),
    (CallTimeoutError, FAILURE_THRESHOLD),
    (BrokenReplyError, FAILURE_THRESHOLD),
    (RateLimitError, RATE_LIMIT_THRESHOLD),
]

jitters = st.floats(0, 1)


def asks(seconds: float | None) -> RateLimitError:
    return RateLimitError("m", "patience", seconds)


def after(*errors: ProviderError, now: float = 0.0) -> CircuitBreaker:
    """What is known when all of them have come at once, with the longest jitter."""
    return reduce(lambda known, error: known.failed(error, now, 1.0), errors, CircuitBreaker())


def opened(now: float = 0.0) -> CircuitBreaker:
    return after(*[DOWN] * FAILURE_THRESHOLD, now=now)


@pytest.mark.parametrize(("error", "most"), TRANSIENT)
def test_it_opens_after_so_many_failures_in_a_row_and_not_before(error, most):
    failure = error("m", "no")

    nearly = after(*[failure] * (most - 1))

    assert (nearly.seconds_to_wait(0), nearly.blocks(0), nearly.down_for(0)) == (0, False, None)
    full = nearly.failed(failure, 0, 1.0)
    assert (full.seconds_to_wait(0), full.blocks(0), full.down_for(7)) == (2, True, 7)


def test_the_bounds_are_these():
    assert (FAILURE_THRESHOLD, RATE_LIMIT_THRESHOLD) == (5, 16)
    assert (MAX_BACKOFF, MAX_RETRY_AFTER, MAX_OUTAGE) == (60, 600, 900)


@pytest.mark.parametrize("answer", [None, RefusedError, BadCallError, CredentialsError])
def test_an_answer_in_between_begins_the_count_anew(answer):
    nearly = after(*[DOWN] * (FAILURE_THRESHOLD - 1))
    alive = nearly.failed(answer("m", "no"), 0, 1.0) if answer else nearly.succeeded()

    assert alive.failed(DOWN, 0, 1.0).seconds_to_wait(0) == 0


def test_failures_of_calls_that_were_sent_before_it_opened_do_not_lengthen_the_wait():
    breaker = opened()

    for _ in range(100):
        breaker = breaker.failed(DOWN, 1, 1.0)

    assert breaker.seconds_to_wait(1) == 1


def test_each_probe_that_fails_doubles_the_wait_up_to_the_longest():
    breaker, now, waits = opened(), 0.0, []
    for _ in range(8):
        waits.append(breaker.seconds_to_wait(now))
        now += waits[-1]
        breaker = breaker.half_open(now).failed(DOWN, now, 1.0)

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


@given(jitter=jitters)
def test_a_wait_is_spread_over_its_upper_half(jitter):
    assert 1 <= after(*[DOWN] * 4).failed(DOWN, 0, jitter).seconds_to_wait(0) <= 2


def test_while_a_probe_is_on_its_way_nothing_else_goes():
    breaker = opened().half_open(2)

    assert breaker.blocks(2)
    assert breaker.seconds_to_wait(2) == MAX_BACKOFF


def test_a_probe_of_which_nothing_is_heard_is_followed_by_another():
    breaker = opened().half_open(2)

    assert breaker.seconds_to_wait(2 + MAX_BACKOFF) == 0
    assert breaker.blocks(2 + MAX_BACKOFF)
    assert breaker.half_open(62).seconds_to_wait(62) == MAX_BACKOFF


def test_a_second_failure_after_a_probe_does_not_lengthen_the_wait_again():
    failed = opened().half_open(2).failed(DOWN, 3, 1.0)

    assert failed.seconds_to_wait(3) == 4
    assert failed.failed(DOWN, 3, 1.0).seconds_to_wait(3) == 4


@pytest.mark.parametrize("known", [opened(), opened().half_open(2)])
def test_an_answer_closes_it(known):
    assert known.succeeded() == CircuitBreaker()


def refused(times: int, asked: float | None, in_flight: int = 0) -> CircuitBreaker:
    """What is known when so many are refused at once, while others are still out."""
    known = CircuitBreaker()
    for _ in range(times):
        known = known.failed(asks(asked), 0, 1.0, in_flight)
    return known


@pytest.mark.parametrize("asked", [None, 1.0, 30.0])
def test_the_wish_that_comes_with_one_refusal_is_that_calls_own(asked):
    known = refused(FAILURE_THRESHOLD - 1, asked)

    assert (known.seconds_to_wait(0), known.blocks(0), known.down_for(0)) == (0, False, None)


@pytest.mark.parametrize(
    ("asked", "waits"), [(1.0, 1), (30.0, 30), (1e9, 600), (float("inf"), 600)]
)
def test_when_none_passes_the_providers_wish_is_the_whole_models(asked, waits):
    breaker = refused(FAILURE_THRESHOLD, asked)

    assert breaker.seconds_to_wait(0) == waits
    assert breaker.blocks(0)


@pytest.mark.parametrize("asked", [None, 0.0, 0.5, -9.0])
def test_a_wish_that_a_calls_own_wait_grants_anyway_is_a_refusal_like_others(asked):
    assert not refused(RATE_LIMIT_THRESHOLD - 1, asked).blocks(0)
    assert refused(RATE_LIMIT_THRESHOLD, asked).blocks(0)


def test_refusals_are_all_only_when_they_are_as_many_as_the_calls_still_out():
    # Of 64 calls that were sent together, these came first.
    assert not refused(40, 30.0, in_flight=41).blocks(0)
    assert refused(41, 30.0, in_flight=41).seconds_to_wait(0) == 30


def test_calls_that_fail_otherwise_open_it_however_many_are_out():
    known = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD):
        known = known.failed(DOWN, 0, 1.0, 500)

    assert known.blocks(0)


def test_a_limit_that_lasts_opens_it_soon_and_its_hours_are_not_waited_for():
    error = asks(21_600)
    error.long_wait_reason = "its limit lasts until noon"

    nearly, full = (after(*[error] * n) for n in (FAILURE_THRESHOLD - 1, FAILURE_THRESHOLD))

    assert (nearly.down_for(0), full.down_for(0)) == (None, 0)
    assert full.seconds_to_wait(0) == 2


def test_an_answer_to_an_earlier_call_leaves_the_providers_wish_in_force():
    breaker = refused(5, 30).succeeded()

    assert (breaker.seconds_to_wait(10), breaker.blocks(10)) == (20, True)
    # Then all go: that it answers is known.
    assert (breaker.seconds_to_wait(30), breaker.blocks(30)) == (0, False)


def test_without_an_answer_a_probe_goes_first_when_the_providers_wish_is_over():
    breaker = refused(RATE_LIMIT_THRESHOLD, 30)

    assert (breaker.seconds_to_wait(30), breaker.blocks(30)) == (0, True)
    assert breaker.half_open(30).seconds_to_wait(30) == MAX_BACKOFF


def test_a_longer_wish_of_a_call_sent_earlier_is_heeded_and_a_shorter_one_shortens_nothing():
    assert refused(5, 30).failed(asks(50), 0, 1.0).seconds_to_wait(0) == 50
    assert refused(5, 30).failed(asks(5), 0, 1.0).seconds_to_wait(0) == 30


def failing(breaker: CircuitBreaker, seconds: float) -> tuple[CircuitBreaker, float]:
    """Have probes fail for so long."""
    now = breaker.opened_at
    while (breaker.down_for(now) or 0) < seconds:
        now += breaker.seconds_to_wait(now)
        breaker = breaker.half_open(now).failed(DOWN, now, 1.0)
    return breaker, now


def test_an_outage_without_end_is_given_up_and_calls_wait_no_more():
    breaker, now = failing(opened(), MAX_OUTAGE)

    assert (breaker.seconds_to_wait(now), breaker.blocks(now)) == (0, False)
    more = breaker.failed(asks(60), now + 800, 1.0)
    assert (more.seconds_to_wait(now + 1600), more.blocks(now + 1600)) == (0, False)
    assert (more.down_for(now + 1600) or 0) > MAX_OUTAGE
    assert more.succeeded() == CircuitBreaker(retry_after_until=more.retry_after_until)


def test_until_then_it_is_not_given_up():
    breaker, now = failing(opened(), MAX_OUTAGE - 60)

    assert breaker.blocks(now)
    assert 0 < breaker.seconds_to_wait(now) <= MAX_BACKOFF


def test_an_outage_that_nobody_has_looked_at_for_long_begins_anew_with_a_probe():
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


def lived(story) -> tuple[CircuitBreaker, float]:
    breaker, now = CircuitBreaker(), 0.0
    for passed, event, jitter in story:
        now += passed
        if event == "probe":
            if breaker.blocks(now) and not breaker.seconds_to_wait(now):
                breaker = breaker.half_open(now)
        elif event == "answers":
            breaker = breaker.succeeded()
        elif event == "refuses":
            breaker = breaker.failed(RefusedError("m", "no"), now, jitter)
        else:
            error = DOWN if event == "fails" else asks(event)
            breaker = breaker.failed(error, now, jitter)
    return breaker, now


@given(events)
def test_whatever_happened_a_wait_has_a_bound_and_then_a_call_may_go(story):
    breaker, now = lived(story)

    waits = breaker.seconds_to_wait(now)
    assert 0 <= waits <= MAX_RETRY_AFTER + 1e-6
    assert breaker.seconds_to_wait(now + waits + 1e-6) == 0


@given(events)
def test_without_a_providers_wish_no_wait_is_longer_than_the_longest_of_our_own(story):
    breaker, now = lived([s for s in story if isinstance(s[1], str)])

    assert breaker.seconds_to_wait(now) <= MAX_BACKOFF + 1e-6


@given(events)
def test_whatever_happened_an_answer_closes_it(story):
    breaker, now = lived(story)
    closed = breaker.succeeded()

    assert closed.down_for(now) is None
    assert closed.seconds_to_wait(now) == max(0, breaker.retry_after_until - now)
    assert not closed.blocks(now + MAX_RETRY_AFTER)


@given(events)
def test_whatever_happened_one_probe_goes_at_a_time(story):
    breaker, now = lived(story)
    now += breaker.seconds_to_wait(now) + 1e-6

    if breaker.blocks(now):
        assert breaker.half_open(now).seconds_to_wait(now) == pytest.approx(MAX_BACKOFF)
