"""Durations in bins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.html_report.duration_histogram import DurationHistogram

DURATIONS = st.lists(st.floats(0.002, 100_000), min_size=1, max_size=200)


def spread_of(durations: list[float]) -> DurationHistogram:
    spread = DurationHistogram()
    for seconds in durations:
        spread.add(seconds)
    return spread


@given(DURATIONS, st.floats(0.001, 1))
def test_a_share_takes_as_long_as_it_does_within_a_hundredth(
    durations: list[float], share: float
) -> None:
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]

    assert spread_of(durations).quantile(share) == pytest.approx(exact, rel=0.0101)


@given(DURATIONS, DURATIONS)
def test_two_spreads_are_one(ours: list[float], theirs: list[float]) -> None:
    together = spread_of(ours)
    together.merge(spread_of(theirs))

    assert together.bins == spread_of(ours + theirs).bins
    assert len(together) == len(ours) + len(theirs)


def test_a_clock_that_was_set_back_breaks_nothing() -> None:
    assert spread_of([-3600.0, 0.0]).quantile(1) == pytest.approx(0.001)


def test_a_million_durations_take_no_more_room_than_a_thousand() -> None:
    few = spread_of([1.001**n for n in range(10_000)])

    assert len(few.bins) < 700
