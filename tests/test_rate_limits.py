"""Limits: no sliding minute holds more, and next to nothing is left unused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.rate_limits import (
    CLIENT_LEASE,
    COLD_START_DELAY,
    GRANT_HORIZON,
    AdaptiveConcurrency,
    LimitClient,
    LimitGrant,
    LimitRequest,
    RateLimits,
    RemainingLimits,
    SharedLimitState,
    grant_permits,
    initial_state,
)


def most_within(moments, seconds):
    """The most moments in any window of that length."""
    ordered = sorted(moments)
    most = start = 0
    for end, moment in enumerate(ordered):
        while moment - ordered[start] >= seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


@given(
    rpm=st.integers(1, 900),
    asked=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40), st.integers(0, 2)), max_size=200),
)
def test_however_processes_ask_no_sliding_minute_holds_more_than_is_allowed(rpm, asked):
    meter, now, moments = SharedLimitState(), 1000.0, []

    for pause, calls, process in asked:
        now += pause
        meter, granted = grant_permits(
            meter, RateLimits(rpm=rpm), LimitRequest(f"p{process}", 0, [0] * calls), now
        )
        assert all(0 <= seconds <= GRANT_HORIZON for seconds in granted.send_delays)
        moments += [now + seconds for seconds in granted.send_delays]

    assert most_within(moments, 60.0) <= rpm


@given(rpm=st.integers(30, 6000))
def test_of_what_is_allowed_ninety_five_per_cent_are_used_when_there_is_enough_to_do(rpm):
    meter, moments = SharedLimitState(), []

    for step in range(1200):
        now = 1000 + step * 0.2
        wish = LimitRequest("me", 0, [0] * 256)
        meter, granted = grant_permits(meter, RateLimits(rpm=rpm), wish, now)
        moments += [now + seconds for seconds in granted.send_delays]

    third = [moment for moment in moments if 1120 <= moment < 1180]
    assert 0.95 * rpm - 1 <= len(third) <= rpm


@given(st.lists(st.integers(1, 400), min_size=50, max_size=400))
def test_tokens_are_paced_so_that_a_minute_exceeds_them_by_no_more_than_a_call(costs):
    meter, now, sent = SharedLimitState(), 0.0, []
    left = list(costs)

    while left:
        meter, granted = grant_permits(
            meter, RateLimits(tpm=2000), LimitRequest("me", 0, left[:50]), now
        )
        sent += [(now + s, c) for s, c in zip(granted.send_delays, left, strict=False)]
        left = left[len(granted.send_delays) :]
        now += max(0.2, granted.ask_again_in)

    for start, _ in sent:
        within = [cost for moment, cost in sent if start <= moment < start + 60]
        assert sum(within) <= 2000 + max(within)


def test_tokens_that_were_not_used_are_given_back():
    limits, wish = RateLimits(tpm=60_000), LimitRequest("me", 0, [30_000, 1])
    meter, first = grant_permits(SharedLimitState(), limits, wish, 100.0)

    _, still = grant_permits(meter, limits, LimitRequest("me", 1, [1]), 101.0)
    _, now = grant_permits(meter, limits, LimitRequest("me", 0, [1], refund=29_000), 102.0)

    assert first.send_delays == (0.0,)
    assert (still.send_delays, now.send_delays) == ((), (0.0,))
    assert still.ask_again_in == pytest.approx(30 / 0.97 - 1 - GRANT_HORIZON)


@pytest.mark.parametrize("ahead", [0.0, 3.0, 86_400.0])
def test_a_clock_that_was_ahead_and_is_right_again_holds_up_nothing(ahead):
    limits = RateLimits(rpm=60, tpm=6_000, max_in_flight=3)
    meter, first = grant_permits(
        SharedLimitState(), limits, LimitRequest("one", 0, [60, 60]), 1000.0 + ahead
    )
    meter, other = grant_permits(
        meter, limits, LimitRequest("two", 0, [60], cooldown=9.0), 1000.1 + ahead
    )

    meter, again = grant_permits(meter, limits, LimitRequest("one", 1, [60]), 1000.2)

    # As if it had never been: places, paces and the provider's wish hold for as long as they did.
    assert (len(first.send_delays), other.send_delays, again.send_delays) == (1, (), ())
    assert again.ask_again_in == pytest.approx(
        9.0 - GRANT_HORIZON - (0.0 if ahead else 0.1), abs=0.01
    )
    lasts = {name: holder.expires_at - CLIENT_LEASE for name, holder in meter.clients.items()}
    assert lasts == pytest.approx({"one": 1000.2, "two": 1000.2 if ahead else 1000.1})


def test_places_are_shared_by_those_who_wait_and_no_more_than_there_are():
    limits, meter = RateLimits(max_in_flight=4), SharedLimitState()

    meter, greedy = grant_permits(meter, limits, LimitRequest("a", 0, [0] * 9), 0.0)
    meter, late = grant_permits(meter, limits, LimitRequest("b", 0, [0] * 9), 0.1)
    meter, again = grant_permits(meter, limits, LimitRequest("a", 2, [0] * 9), 0.2)
    meter, fair = grant_permits(meter, limits, LimitRequest("b", 0, [0] * 9), 0.3)

    assert [len(g.send_delays) for g in (greedy, late, again, fair)] == [4, 0, 0, 2]
    assert again.contested
    assert sum(holder.in_flight for holder in meter.clients.values()) == 4


def test_the_places_of_a_process_that_is_not_heard_of_come_back():
    limits = RateLimits(max_in_flight=2)
    meter, _ = grant_permits(SharedLimitState(), limits, LimitRequest("dead", 0, [0, 0]), 0.0)

    meter, before = grant_permits(meter, limits, LimitRequest("me", 0, [0, 0]), CLIENT_LEASE - 1)
    meter, after = grant_permits(meter, limits, LimitRequest("me", 0, [0, 0]), CLIENT_LEASE + 1)

    assert (len(before.send_delays), len(after.send_delays)) == (0, 2)
    assert list(meter.clients) == ["me"]


def test_who_has_nothing_and_wants_nothing_leaves_no_trace():
    meter, _ = grant_permits(
        SharedLimitState(), RateLimits(max_in_flight=2), LimitRequest("me", 0, [0]), 0.0
    )

    meter, granted = grant_permits(meter, RateLimits(max_in_flight=2), LimitRequest("me", 0), 1.0)

    assert (meter.clients, granted) == ({}, LimitGrant((), 0.0, contested=False))


def test_a_parked_model_is_told_of():
    wish = LimitRequest("me", 0, circuit_open_for=8.0, adaptive_limit=3)

    meter, _ = grant_permits(SharedLimitState(), RateLimits(), wish, 100.0)

    assert meter.clients == {"me": LimitClient(0, False, 100.0 + CLIENT_LEASE, 3, 108.0)}


def test_of_a_model_of_which_nothing_is_known_nothing_goes_until_all_have_spoken():
    _, granted = grant_permits(
        initial_state(50.0), RateLimits(max_in_flight=4), LimitRequest("me", 0, [0]), 50.0
    )

    assert (granted.send_delays, granted.ask_again_in) == ((), COLD_START_DELAY - GRANT_HORIZON)


def test_what_the_provider_wants_nothing_for_holds_for_all():
    meter, _ = grant_permits(
        SharedLimitState(), RateLimits(rpm=6000), LimitRequest("a", 0, cooldown=7.0), 100.0
    )

    _, granted = grant_permits(meter, RateLimits(rpm=6000), LimitRequest("b", 0, [0]), 101.0)

    assert granted.ask_again_in == pytest.approx(6.0 - GRANT_HORIZON)


def test_the_lower_limit_holds_and_the_operators_instead():
    one, other = RateLimits(rpm=300, tpm=9), RateLimits(rpm=200, max_in_flight=4)

    assert one.minimum(other) == RateLimits(200, 9, 4)
    assert RateLimits(rpm=900).with_fallback(one) == RateLimits(900, 9, None)


@pytest.mark.parametrize(
    ("headroom", "rest"),
    [
        (RemainingLimits(), 0.0),
        (RemainingLimits(requests=3, requests_reset=9.0), 0.0),
        (RemainingLimits(requests=0, requests_reset=9.0, tokens=5, tokens_reset=20.0), 9.0),
        (RemainingLimits(tokens=0, tokens_reset=86_400.0), 60.0),
        (RemainingLimits(tokens=0), 0.0),
    ],
)
def test_a_provider_with_nothing_left_is_left_alone_until_its_reset(headroom, rest):
    assert headroom.cooldown == rest


def pushed(
    width: AdaptiveConcurrency, times: int, in_flight: int, sent: float, now: float
) -> AdaptiveConcurrency:
    for _ in range(times):
        width = width.throttled(in_flight, sent, now)
    return width


def test_the_width_is_halved_once_for_all_that_left_before():
    width = pushed(AdaptiveConcurrency(), 40, 64, sent=1.0, now=5.0)
    assert (width.limit, width.cut_at) == (32.0, 5.0)
    assert width.throttled(63, sent_at=4.0, now=6.0).limit == 32.0
    assert width.throttled(32, sent_at=5.5, now=7.0).limit == 16.0


@pytest.mark.parametrize("in_flight", [4, 64, 500])
def test_a_few_that_are_turned_away_are_no_reason_to_narrow(in_flight):
    width = pushed(AdaptiveConcurrency(), max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0)

    assert width.limit is None
    assert pushed(width, max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0).limit is not None


def test_what_was_turned_away_is_forgotten_as_others_are_answered():
    width = AdaptiveConcurrency().throttled(8, sent_at=1.0, now=2.0)

    for _ in range(120):
        width = width.succeeded(8, capacity=64)

    assert width == AdaptiveConcurrency()


def test_the_width_grows_by_one_as_often_as_it_is_filled():
    width, seen = AdaptiveConcurrency(8.0), [8.0]

    for _ in range(8 + 9 + 10):
        width = width.succeeded(int(seen[-1]), capacity=128)
        seen.append(width.limit or 0.0)

    assert 10.5 < seen[-1] < 11.5
    assert all(after > before for before, after in pairwise(seen))


def test_a_width_that_nobody_fills_stays_and_one_as_wide_as_the_process_is_none():
    assert AdaptiveConcurrency(8.0).succeeded(3, capacity=128) == AdaptiveConcurrency(8.0)
    assert AdaptiveConcurrency(8.0).succeeded(8, capacity=8) == AdaptiveConcurrency()
    assert pushed(AdaptiveConcurrency(1.0), 40, 1, sent=2.0, now=3.0).limit == 1.0
    assert not AdaptiveConcurrency(1.9).allows(1)
    assert AdaptiveConcurrency(1.9).allows(0)
