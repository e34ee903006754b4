"""The histogram of durations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.html_report.duration_histogram import DurationHistogram

DURATIONS = st.lists(st.floats(0.002, 100_000), min_size=1, max_size=200)


def histogram_of(durations: list[float]) -> DurationHistogram:
    histogram = DurationHistogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


@given(DURATIONS, st.floats(0.001, 1))
def test_quantiles_are_accurate_to_one_percent(durations: list[float], share: float) -> None:
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]

    assert histogram_of(durations).quantile(share) == pytest.approx(exact, rel=0.0101)


@given(DURATIONS, DURATIONS)
def test_merged_histograms_equal_one_histogram(first: list[float], second: list[float]) -> None:
    together = histogram_of(first)
    together.merge(histogram_of(second))

    assert together.bins == histogram_of(first + second).bins
    assert len(together) == len(first) + len(second)


def test_a_negative_duration_counts_as_the_shortest() -> None:
    assert histogram_of([-3600.0, 0.0]).quantile(1) == pytest.approx(0.001)


def test_the_number_of_bins_is_bounded() -> None:
    few = histogram_of([1.001**n for n in range(10_000)])

    assert len(few.bins) < 700
