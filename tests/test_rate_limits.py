"""Rate limits: no sliding minute exceeds them, and hardly any of them is left unused."""

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


def most_within(send_times, seconds):
    """The most times in any window of that length."""
    ordered = sorted(send_times)
    most = start = 0
    for end, send_time in enumerate(ordered):
        while send_time - ordered[start] >= seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


@given(
    rpm=st.integers(1, 900),
    asked=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40), st.integers(0, 2)), max_size=200),
)
def test_no_sliding_minute_exceeds_the_limit_however_processes_ask(rpm, asked):
    state, now, send_times = SharedLimitState(), 1000.0, []

    for pause, calls, process in asked:
        now += pause
        state, granted = grant_permits(
            state, RateLimits(rpm=rpm), LimitRequest(f"p{process}", 0, [0] * calls), now
        )
        assert all(0 <= seconds <= GRANT_HORIZON for seconds in granted.send_delays)
        send_times += [now + seconds for seconds in granted.send_delays]

    assert most_within(send_times, 60.0) <= rpm


@given(rpm=st.integers(30, 6000))
def test_ninety_five_per_cent_of_the_limit_are_used_under_load(rpm):
    state, send_times = SharedLimitState(), []

    for step in range(1200):
        now = 1000 + step * 0.2
        request = LimitRequest("me", 0, [0] * 256)
        state, granted = grant_permits(state, RateLimits(rpm=rpm), request, now)
        send_times += [now + seconds for seconds in granted.send_delays]

    third = [send_time for send_time in send_times if 1120 <= send_time < 1180]
    assert 0.95 * rpm - 1 <= len(third) <= rpm


@given(st.lists(st.integers(1, 400), min_size=50, max_size=400))
def test_a_minute_exceeds_the_token_limit_by_one_call_at_most(costs):
    state, now, sent = SharedLimitState(), 0.0, []
    left = list(costs)

    while left:
        state, granted = grant_permits(
            state, RateLimits(tpm=2000), LimitRequest("me", 0, left[:50]), now
        )
        sent += [(now + s, c) for s, c in zip(granted.send_delays, left, strict=False)]
        left = left[len(granted.send_delays) :]
        now += max(0.2, granted.ask_again_in)

    for start, _ in sent:
        within = [cost for send_time, cost in sent if start <= send_time < start + 60]
        assert sum(within) <= 2000 + max(within)


def test_unused_tokens_are_refunded():
    limits, request = RateLimits(tpm=60_000), LimitRequest("me", 0, [30_000, 1])
    state, first = grant_permits(SharedLimitState(), limits, request, 100.0)

    _, still = grant_permits(state, limits, LimitRequest("me", 1, [1]), 101.0)
    _, now = grant_permits(state, limits, LimitRequest("me", 0, [1], refund=29_000), 102.0)

    assert first.send_delays == (0.0,)
    assert (still.send_delays, now.send_delays) == ((), (0.0,))
    assert still.ask_again_in == pytest.approx(30 / 0.97 - 1 - GRANT_HORIZON)


@pytest.mark.parametrize("ahead", [0.0, 3.0, 86_400.0])
def test_a_clock_that_was_ahead_and_is_corrected_delays_nothing(ahead):
    limits = RateLimits(rpm=60, tpm=6_000, max_in_flight=3)
    state, first = grant_permits(
        SharedLimitState(), limits, LimitRequest("one", 0, [60, 60]), 1000.0 + ahead
    )
    state, other = grant_permits(
        state, limits, LimitRequest("two", 0, [60], cooldown=9.0), 1000.1 + ahead
    )

    state, again = grant_permits(state, limits, LimitRequest("one", 1, [60]), 1000.2)

    # As if the clock had been right: calls, pace and cooldown last as long as before.
    assert (len(first.send_delays), other.send_delays, again.send_delays) == (1, (), ())
    assert again.ask_again_in == pytest.approx(
        9.0 - GRANT_HORIZON - (0.0 if ahead else 0.1), abs=0.01
    )
    lasts = {name: client.expires_at - CLIENT_LEASE for name, client in state.clients.items()}
    assert lasts == pytest.approx({"one": 1000.2, "two": 1000.2 if ahead else 1000.1})


def test_waiting_processes_share_the_calls_in_flight():
    limits, state = RateLimits(max_in_flight=4), SharedLimitState()

    state, greedy = grant_permits(state, limits, LimitRequest("a", 0, [0] * 9), 0.0)
    state, late = grant_permits(state, limits, LimitRequest("b", 0, [0] * 9), 0.1)
    state, again = grant_permits(state, limits, LimitRequest("a", 2, [0] * 9), 0.2)
    state, fair = grant_permits(state, limits, LimitRequest("b", 0, [0] * 9), 0.3)

    assert [len(g.send_delays) for g in (greedy, late, again, fair)] == [4, 0, 0, 2]
    assert again.contested
    assert sum(client.in_flight for client in state.clients.values()) == 4


def test_the_calls_of_a_silent_process_expire():
    limits = RateLimits(max_in_flight=2)
    state, _ = grant_permits(SharedLimitState(), limits, LimitRequest("dead", 0, [0, 0]), 0.0)

    state, before = grant_permits(state, limits, LimitRequest("me", 0, [0, 0]), CLIENT_LEASE - 1)
    state, after = grant_permits(state, limits, LimitRequest("me", 0, [0, 0]), CLIENT_LEASE + 1)

    assert (len(before.send_delays), len(after.send_delays)) == (0, 2)
    assert list(state.clients) == ["me"]


def test_a_process_without_calls_is_not_stored():
    state, _ = grant_permits(
        SharedLimitState(), RateLimits(max_in_flight=2), LimitRequest("me", 0, [0]), 0.0
    )

    state, granted = grant_permits(state, RateLimits(max_in_flight=2), LimitRequest("me", 0), 1.0)

    assert (state.clients, granted) == ({}, LimitGrant((), 0.0, contested=False))


def test_an_open_circuit_is_stored():
    request = LimitRequest("me", 0, circuit_open_for=8.0, adaptive_limit=3)

    state, _ = grant_permits(SharedLimitState(), RateLimits(), request, 100.0)

    assert state.clients == {"me": LimitClient(0, False, 100.0 + CLIENT_LEASE, 3, 108.0)}


def test_an_unknown_model_gets_no_grants_until_all_processes_have_reported():
    _, granted = grant_permits(
        initial_state(50.0), RateLimits(max_in_flight=4), LimitRequest("me", 0, [0]), 50.0
    )

    assert (granted.send_delays, granted.ask_again_in) == ((), COLD_START_DELAY - GRANT_HORIZON)


def test_a_cooldown_holds_for_all_processes():
    state, _ = grant_permits(
        SharedLimitState(), RateLimits(rpm=6000), LimitRequest("a", 0, cooldown=7.0), 100.0
    )

    _, granted = grant_permits(state, RateLimits(rpm=6000), LimitRequest("b", 0, [0]), 101.0)

    assert granted.ask_again_in == pytest.approx(6.0 - GRANT_HORIZON)


def test_the_lower_limit_holds_and_the_operator_s_overrides_it():
    one, other = RateLimits(rpm=300, tpm=9), RateLimits(rpm=200, max_in_flight=4)

    assert one.minimum(other) == RateLimits(200, 9, 4)
    assert RateLimits(rpm=900).with_fallback(one) == RateLimits(900, 9, None)


@pytest.mark.parametrize(
    ("remaining", "cooldown"),
    [
        (RemainingLimits(), 0.0),
        (RemainingLimits(requests=3, requests_reset=9.0), 0.0),
        (RemainingLimits(requests=0, requests_reset=9.0, tokens=5, tokens_reset=20.0), 9.0),
        (RemainingLimits(tokens=0, tokens_reset=86_400.0), 60.0),
        (RemainingLimits(tokens=0), 0.0),
    ],
)
def test_without_remaining_quota_the_cooldown_lasts_until_the_reset(remaining, cooldown):
    assert remaining.cooldown == cooldown


def throttled_times(
    concurrency: AdaptiveConcurrency, times: int, in_flight: int, sent: float, now: float
) -> AdaptiveConcurrency:
    for _ in range(times):
        concurrency = concurrency.throttled(in_flight, sent, now)
    return concurrency


def test_the_limit_is_halved_once_for_all_calls_sent_before():
    concurrency = throttled_times(AdaptiveConcurrency(), 40, 64, sent=1.0, now=5.0)
    assert (concurrency.limit, concurrency.cut_at) == (32.0, 5.0)
    assert concurrency.throttled(63, sent_at=4.0, now=6.0).limit == 32.0
    assert concurrency.throttled(32, sent_at=5.5, now=7.0).limit == 16.0


@pytest.mark.parametrize("in_flight", [4, 64, 500])
def test_a_tolerated_share_of_throttled_calls_does_not_lower_the_limit(in_flight):
    concurrency = throttled_times(
        AdaptiveConcurrency(), max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0
    )

    assert concurrency.limit is None
    assert (
        throttled_times(concurrency, max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0).limit
        is not None
    )


def test_successes_make_throttled_calls_forgotten():
    concurrency = AdaptiveConcurrency().throttled(8, sent_at=1.0, now=2.0)

    for _ in range(120):
        concurrency = concurrency.succeeded(8, capacity=64)

    assert concurrency == AdaptiveConcurrency()


def test_the_limit_grows_by_one_for_each_full_round():
    concurrency, seen = AdaptiveConcurrency(8.0), [8.0]

    for _ in range(8 + 9 + 10):
        concurrency = concurrency.succeeded(int(seen[-1]), capacity=128)
        seen.append(concurrency.limit or 0.0)

    assert 10.5 < seen[-1] < 11.5
    assert all(after > before for before, after in pairwise(seen))


def test_an_unused_limit_does_not_grow_and_one_at_the_capacity_is_dropped():
    assert AdaptiveConcurrency(8.0).succeeded(3, capacity=128) == AdaptiveConcurrency(8.0)
    assert AdaptiveConcurrency(8.0).succeeded(8, capacity=8) == AdaptiveConcurrency()
    assert throttled_times(AdaptiveConcurrency(1.0), 40, 1, sent=2.0, now=3.0).limit == 1.0
    assert not AdaptiveConcurrency(1.9).allows(1)
    assert AdaptiveConcurrency(1.9).allows(0)
