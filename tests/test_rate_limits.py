"""Limits: no sliding minute holds more, and next to nothing is left unused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.rate_limits import (
    AHEAD,
    LEASE,
    UNKNOWN,
    Grant,
    Headroom,
    Holder,
    Limits,
    Meter,
    Width,
    Wish,
    grant,
    unknown,
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
    meter, now, moments = Meter(), 1000.0, []

    for pause, calls, process in asked:
        now += pause
        meter, granted = grant(meter, Limits(rpm=rpm), Wish(f"p{process}", 0, [0] * calls), now)
        assert all(0 <= seconds <= AHEAD for seconds in granted.moments)
        moments += [now + seconds for seconds in granted.moments]

    assert most_within(moments, 60.0) <= rpm


@given(rpm=st.integers(30, 6000))
def test_of_what_is_allowed_ninety_five_per_cent_are_used_when_there_is_enough_to_do(rpm):
    meter, moments = Meter(), []

    for step in range(1200):
        now = 1000 + step * 0.2
        wish = Wish("me", 0, [0] * 256)
        meter, granted = grant(meter, Limits(rpm=rpm), wish, now)
        moments += [now + seconds for seconds in granted.moments]

    third = [moment for moment in moments if 1120 <= moment < 1180]
    assert 0.95 * rpm - 1 <= len(third) <= rpm


@given(st.lists(st.integers(1, 400), min_size=50, max_size=400))
def test_tokens_are_paced_so_that_a_minute_exceeds_them_by_no_more_than_a_call(costs):
    meter, now, sent = Meter(), 0.0, []
    left = list(costs)

    while left:
        meter, granted = grant(meter, Limits(tpm=2000), Wish("me", 0, left[:50]), now)
        sent += [(now + s, c) for s, c in zip(granted.moments, left, strict=False)]
        left = left[len(granted.moments) :]
        now += max(0.2, granted.wait)

    for start, _ in sent:
        within = [cost for moment, cost in sent if start <= moment < start + 60]
        assert sum(within) <= 2000 + max(within)


def test_tokens_that_were_not_used_are_given_back():
    limits, wish = Limits(tpm=60_000), Wish("me", 0, [30_000, 1])
    meter, first = grant(Meter(), limits, wish, 100.0)

    _, still = grant(meter, limits, Wish("me", 1, [1]), 101.0)
    _, now = grant(meter, limits, Wish("me", 0, [1], back=29_000), 102.0)

    assert first.moments == (0.0,)
    assert (still.moments, now.moments) == ((), (0.0,))
    assert still.wait == pytest.approx(30 / 0.97 - 1 - AHEAD)


@pytest.mark.parametrize("ahead", [0.0, 3.0, 86_400.0])
def test_a_clock_that_was_ahead_and_is_right_again_holds_up_nothing(ahead):
    limits = Limits(rpm=60, tpm=6_000, max_in_flight=3)
    meter, first = grant(Meter(), limits, Wish("one", 0, [60, 60]), 1000.0 + ahead)
    meter, other = grant(meter, limits, Wish("two", 0, [60], rest=9.0), 1000.1 + ahead)

    meter, again = grant(meter, limits, Wish("one", 1, [60]), 1000.2)

    # As if it had never been: places, paces and the provider's wish hold for as long as they did.
    assert (len(first.moments), other.moments, again.moments) == (1, (), ())
    assert again.wait == pytest.approx(9.0 - AHEAD - (0.0 if ahead else 0.1), abs=0.01)
    lasts = {name: holder.until - LEASE for name, holder in meter.holders.items()}
    assert lasts == pytest.approx({"one": 1000.2, "two": 1000.2 if ahead else 1000.1})


def test_places_are_shared_by_those_who_wait_and_no_more_than_there_are():
    limits, meter = Limits(max_in_flight=4), Meter()

    meter, greedy = grant(meter, limits, Wish("a", 0, [0] * 9), 0.0)
    meter, late = grant(meter, limits, Wish("b", 0, [0] * 9), 0.1)
    meter, again = grant(meter, limits, Wish("a", 2, [0] * 9), 0.2)
    meter, fair = grant(meter, limits, Wish("b", 0, [0] * 9), 0.3)

    assert [len(g.moments) for g in (greedy, late, again, fair)] == [4, 0, 0, 2]
    assert again.contested
    assert sum(holder.held for holder in meter.holders.values()) == 4


def test_the_places_of_a_process_that_is_not_heard_of_come_back():
    limits = Limits(max_in_flight=2)
    meter, _ = grant(Meter(), limits, Wish("dead", 0, [0, 0]), 0.0)

    meter, before = grant(meter, limits, Wish("me", 0, [0, 0]), LEASE - 1)
    meter, after = grant(meter, limits, Wish("me", 0, [0, 0]), LEASE + 1)

    assert (len(before.moments), len(after.moments)) == (0, 2)
    assert list(meter.holders) == ["me"]


def test_who_has_nothing_and_wants_nothing_leaves_no_trace():
    meter, _ = grant(Meter(), Limits(max_in_flight=2), Wish("me", 0, [0]), 0.0)

    meter, granted = grant(meter, Limits(max_in_flight=2), Wish("me", 0), 1.0)

    assert (meter.holders, granted) == ({}, Grant((), 0.0, contested=False))


def test_a_parked_model_is_told_of():
    wish = Wish("me", 0, parked=8.0, width=3)

    meter, _ = grant(Meter(), Limits(), wish, 100.0)

    assert meter.holders == {"me": Holder(0, False, 100.0 + LEASE, 3, 108.0)}


def test_of_a_model_of_which_nothing_is_known_nothing_goes_until_all_have_spoken():
    _, granted = grant(unknown(50.0), Limits(max_in_flight=4), Wish("me", 0, [0]), 50.0)

    assert (granted.moments, granted.wait) == ((), UNKNOWN - AHEAD)


def test_what_the_provider_wants_nothing_for_holds_for_all():
    meter, _ = grant(Meter(), Limits(rpm=6000), Wish("a", 0, rest=7.0), 100.0)

    _, granted = grant(meter, Limits(rpm=6000), Wish("b", 0, [0]), 101.0)

    assert granted.wait == pytest.approx(6.0 - AHEAD)


def test_the_lower_limit_holds_and_the_operators_instead():
    one, other = Limits(rpm=300, tpm=9), Limits(rpm=200, max_in_flight=4)

    assert one.lower(other) == Limits(200, 9, 4)
    assert Limits(rpm=900).instead(one) == Limits(900, 9, None)


@pytest.mark.parametrize(
    ("headroom", "rest"),
    [
        (Headroom(), 0.0),
        (Headroom(requests=3, requests_reset=9.0), 0.0),
        (Headroom(requests=0, requests_reset=9.0, tokens=5, tokens_reset=20.0), 9.0),
        (Headroom(tokens=0, tokens_reset=86_400.0), 60.0),
        (Headroom(tokens=0), 0.0),
    ],
)
def test_a_provider_with_nothing_left_is_left_alone_until_its_reset(headroom, rest):
    assert headroom.rest == rest


def pushed(width: Width, times: int, in_flight: int, sent: float, now: float) -> Width:
    for _ in range(times):
        width = width.pushed(in_flight, sent, now)
    return width


def test_the_width_is_halved_once_for_all_that_left_before():
    width = pushed(Width(), 40, 64, sent=1.0, now=5.0)
    assert (width.most, width.cut) == (32.0, 5.0)
    assert width.pushed(63, sent=4.0, now=6.0).most == 32.0
    assert width.pushed(32, sent=5.5, now=7.0).most == 16.0


@pytest.mark.parametrize("in_flight", [4, 64, 500])
def test_a_few_that_are_turned_away_are_no_reason_to_narrow(in_flight):
    width = pushed(Width(), max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0)

    assert width.most is None
    assert pushed(width, max(32, in_flight) // 5, in_flight, sent=1.0, now=5.0).most is not None


def test_what_was_turned_away_is_forgotten_as_others_are_answered():
    width = Width().pushed(8, sent=1.0, now=2.0)

    for _ in range(120):
        width = width.answered(8, room=64)

    assert width == Width()


def test_the_width_grows_by_one_as_often_as_it_is_filled():
    width, seen = Width(8.0), [8.0]

    for _ in range(8 + 9 + 10):
        width = width.answered(int(seen[-1]), room=128)
        seen.append(width.most or 0.0)

    assert 10.5 < seen[-1] < 11.5
    assert all(after > before for before, after in pairwise(seen))


def test_a_width_that_nobody_fills_stays_and_one_as_wide_as_the_process_is_none():
    assert Width(8.0).answered(3, room=128) == Width(8.0)
    assert Width(8.0).answered(8, room=8) == Width()
    assert pushed(Width(1.0), 40, 1, sent=2.0, now=3.0).most == 1.0
    assert not Width(1.9).lets(1)
    assert Width(1.9).lets(0)
