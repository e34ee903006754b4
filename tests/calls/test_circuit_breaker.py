"""The breaker: opens after so many failures, waits within a bound, and always asks again."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.calls.circuit_breaker import MOST_FAILURES, MOST_REFUSALS, Breaker
from archon_batch.errors import (
    BadCallError,
    BrokenReplyError,
    CallTimeoutError,
    CredentialsError,
    GatewayError,
    ProviderDownError,
    RateLimitError,
    RefusedError,
    UnreachableError,
)
from archon_batch.money import LONGEST_OUTAGE, LONGEST_RETRY_AFTER, LONGEST_WAIT

DOWN = ProviderDownError("m", "down")
#: The failures in a row after which it opens.
TRANSIENT = [
    (ProviderDownError, MOST_FAILURES),
    (UnreachableError, MOST_FAILURES),
    (CallTimeoutError, MOST_FAILURES),
    (BrokenReplyError, MOST_FAILURES),
    (RateLimitError, MOST_REFUSALS),
]

jitters = st.floats(0, 1)


def asks(seconds: float | None) -> RateLimitError:
    return RateLimitError("m", "patience", seconds)


def after(*errors: GatewayError, now: float = 0.0) -> Breaker:
    """What is known when all of them have come at once, with the longest jitter."""
    return reduce(lambda known, error: known.failed(error, now, 1.0), errors, Breaker())


def opened(now: float = 0.0) -> Breaker:
    return after(*[DOWN] * MOST_FAILURES, now=now)


@pytest.mark.parametrize(("error", "most"), TRANSIENT)
def test_it_opens_after_so_many_failures_in_a_row_and_not_before(error, most):
    failure = error("m", "no")

    nearly = after(*[failure] * (most - 1))

    assert (nearly.waits(0), nearly.parks(0), nearly.away(0)) == (0, False, None)
    full = nearly.failed(failure, 0, 1.0)
    assert (full.waits(0), full.parks(0), full.away(7)) == (2, True, 7)


def test_the_bounds_are_these():
    assert (MOST_FAILURES, MOST_REFUSALS) == (5, 16)
    assert (LONGEST_WAIT, LONGEST_RETRY_AFTER, LONGEST_OUTAGE) == (60, 600, 900)


@pytest.mark.parametrize("answer", [None, RefusedError, BadCallError, CredentialsError])
def test_an_answer_in_between_begins_the_count_anew(answer):
    nearly = after(*[DOWN] * (MOST_FAILURES - 1))
    alive = nearly.failed(answer("m", "no"), 0, 1.0) if answer else nearly.succeeded()

    assert alive.failed(DOWN, 0, 1.0).waits(0) == 0


def test_failures_of_calls_that_were_sent_before_it_opened_do_not_lengthen_the_wait():
    breaker = opened()

    for _ in range(100):
        breaker = breaker.failed(DOWN, 1, 1.0)

    assert breaker.waits(1) == 1


def test_each_probe_that_fails_doubles_the_wait_up_to_the_longest():
    breaker, now, waits = opened(), 0.0, []
    for _ in range(8):
        waits.append(breaker.waits(now))
        now += waits[-1]
        breaker = breaker.probed(now).failed(DOWN, now, 1.0)

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


@given(jitter=jitters)
def test_a_wait_is_spread_over_its_upper_half(jitter):
    assert 1 <= after(*[DOWN] * 4).failed(DOWN, 0, jitter).waits(0) <= 2


def test_while_a_probe_is_on_its_way_nothing_else_goes():
    breaker = opened().probed(2)

    assert breaker.parks(2)
    assert breaker.waits(2) == LONGEST_WAIT


def test_a_probe_of_which_nothing_is_heard_is_followed_by_another():
    breaker = opened().probed(2)

    assert breaker.waits(2 + LONGEST_WAIT) == 0
    assert breaker.parks(2 + LONGEST_WAIT)
    assert breaker.probed(62).waits(62) == LONGEST_WAIT


def test_a_second_failure_after_a_probe_does_not_lengthen_the_wait_again():
    failed = opened().probed(2).failed(DOWN, 3, 1.0)

    assert failed.waits(3) == 4
    assert failed.failed(DOWN, 3, 1.0).waits(3) == 4


@pytest.mark.parametrize("known", [opened(), opened().probed(2)])
def test_an_answer_closes_it(known):
    assert known.succeeded() == Breaker()


def refused(times: int, asked: float | None, in_flight: int = 0) -> Breaker:
    """What is known when so many are refused at once, while others are still out."""
    known = Breaker()
    for _ in range(times):
        known = known.failed(asks(asked), 0, 1.0, in_flight)
    return known


@pytest.mark.parametrize("asked", [None, 1.0, 30.0])
def test_the_wish_that_comes_with_one_refusal_is_that_calls_own(asked):
    known = refused(MOST_FAILURES - 1, asked)

    assert (known.waits(0), known.parks(0), known.away(0)) == (0, False, None)


@pytest.mark.parametrize(
    ("asked", "waits"), [(1.0, 1), (30.0, 30), (1e9, 600), (float("inf"), 600)]
)
def test_when_none_passes_the_providers_wish_is_the_whole_models(asked, waits):
    breaker = refused(MOST_FAILURES, asked)

    assert breaker.waits(0) == waits
    assert breaker.parks(0)


@pytest.mark.parametrize("asked", [None, 0.0, 0.5, -9.0])
def test_a_wish_that_a_calls_own_wait_grants_anyway_is_a_refusal_like_others(asked):
    assert not refused(MOST_REFUSALS - 1, asked).parks(0)
    assert refused(MOST_REFUSALS, asked).parks(0)


def test_refusals_are_all_only_when_they_are_as_many_as_the_calls_still_out():
    # Of 64 calls that were sent together, these came first.
    assert not refused(40, 30.0, in_flight=41).parks(0)
    assert refused(41, 30.0, in_flight=41).waits(0) == 30


def test_calls_that_fail_otherwise_open_it_however_many_are_out():
    known = Breaker()
    for _ in range(MOST_FAILURES):
        known = known.failed(DOWN, 0, 1.0, 500)

    assert known.parks(0)


def test_a_limit_that_lasts_opens_it_soon_and_its_hours_are_not_waited_for():
    error = asks(21_600)
    error.lasting = "its limit lasts until noon"

    nearly, full = (after(*[error] * n) for n in (MOST_FAILURES - 1, MOST_FAILURES))

    assert (nearly.away(0), full.away(0)) == (None, 0)
    assert full.waits(0) == 2


def test_an_answer_to_an_earlier_call_leaves_the_providers_wish_in_force():
    breaker = refused(5, 30).succeeded()

    assert (breaker.waits(10), breaker.parks(10)) == (20, True)
    # Then all go: that it answers is known.
    assert (breaker.waits(30), breaker.parks(30)) == (0, False)


def test_without_an_answer_a_probe_goes_first_when_the_providers_wish_is_over():
    breaker = refused(MOST_REFUSALS, 30)

    assert (breaker.waits(30), breaker.parks(30)) == (0, True)
    assert breaker.probed(30).waits(30) == LONGEST_WAIT


def test_a_longer_wish_of_a_call_sent_earlier_is_heeded_and_a_shorter_one_shortens_nothing():
    assert refused(5, 30).failed(asks(50), 0, 1.0).waits(0) == 50
    assert refused(5, 30).failed(asks(5), 0, 1.0).waits(0) == 30


def failing(breaker: Breaker, seconds: float) -> tuple[Breaker, float]:
    """Have probes fail for so long."""
    now = breaker.since
    while (breaker.away(now) or 0) < seconds:
        now += breaker.waits(now)
        breaker = breaker.probed(now).failed(DOWN, now, 1.0)
    return breaker, now


def test_an_outage_without_end_is_given_up_and_calls_wait_no_more():
    breaker, now = failing(opened(), LONGEST_OUTAGE)

    assert (breaker.waits(now), breaker.parks(now)) == (0, False)
    more = breaker.failed(asks(60), now + 800, 1.0)
    assert (more.waits(now + 1600), more.parks(now + 1600)) == (0, False)
    assert (more.away(now + 1600) or 0) > LONGEST_OUTAGE
    assert more.succeeded() == Breaker(asked=more.asked)


def test_until_then_it_is_not_given_up():
    breaker, now = failing(opened(), LONGEST_OUTAGE - 60)

    assert breaker.parks(now)
    assert 0 < breaker.waits(now) <= LONGEST_WAIT


def test_an_outage_that_nobody_has_looked_at_for_long_begins_anew_with_a_probe():
    breaker, now = failing(opened(), LONGEST_OUTAGE)
    tomorrow = now + 86_400

    assert (breaker.waits(tomorrow), breaker.parks(tomorrow)) == (0, True)
    failed = breaker.probed(tomorrow).failed(DOWN, tomorrow + 1, 1.0)
    assert failed.away(tomorrow + 1) == 1
    assert 0 < failed.waits(tomorrow + 1) <= LONGEST_WAIT


events = st.lists(
    st.tuples(
        st.floats(0, 2000),
        st.sampled_from(["fails", "fails", "probe", "answers", "refuses"]) | st.floats(),
        jitters,
    )
)


def lived(story) -> tuple[Breaker, float]:
    breaker, now = Breaker(), 0.0
    for passed, event, jitter in story:
        now += passed
        if event == "probe":
            if breaker.parks(now) and not breaker.waits(now):
                breaker = breaker.probed(now)
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

    waits = breaker.waits(now)
    assert 0 <= waits <= LONGEST_RETRY_AFTER + 1e-6
    assert breaker.waits(now + waits + 1e-6) == 0


@given(events)
def test_without_a_providers_wish_no_wait_is_longer_than_the_longest_of_our_own(story):
    breaker, now = lived([s for s in story if isinstance(s[1], str)])

    assert breaker.waits(now) <= LONGEST_WAIT + 1e-6


@given(events)
def test_whatever_happened_an_answer_closes_it(story):
    breaker, now = lived(story)
    closed = breaker.succeeded()

    assert closed.away(now) is None
    assert closed.waits(now) == max(0, breaker.asked - now)
    assert not closed.parks(now + LONGEST_RETRY_AFTER)


@given(events)
def test_whatever_happened_one_probe_goes_at_a_time(story):
    breaker, now = lived(story)
    now += breaker.waits(now) + 1e-6

    if breaker.parks(now):
        assert breaker.probed(now).waits(now) == pytest.approx(LONGEST_WAIT)
