"""Means with confidence intervals."""

import random
from statistics import fmean

import pytest

from archon_batch.evaluation.statistics import bootstrap_mean, paired_difference


def test_no_values_have_no_mean():
    assert bootstrap_mean([]) is None


def test_equal_values_have_an_interval_of_width_zero():
    mean = bootstrap_mean([1.0] * 20)

    assert mean is not None
    assert (mean.value, mean.low, mean.high, mean.n) == (1, 1, 1, 20)


def test_the_same_values_and_seed_give_the_same_interval():
    values = [n * n / 1600 for n in range(40)]

    assert bootstrap_mean(values, 3) == bootstrap_mean(values, 3)
    assert bootstrap_mean(values, 3) != bootstrap_mean(values, 4)


def test_the_interval_of_fractions_matches_the_binomial():
    # 60 of 100: the exact 95 % interval of the mean is about 0.50 to 0.69.
    mean = bootstrap_mean([1.0] * 60 + [0.0] * 40)

    assert mean is not None
    assert mean.low == pytest.approx(0.504, abs=0.015)
    assert mean.high == pytest.approx(0.696, abs=0.015)


@pytest.mark.parametrize("n", [40, 3_000])
def test_the_interval_contains_the_true_mean_in_95_percent_of_samples(n):
    rng = random.Random(1)  # noqa: S311
    trials = 60
    held = 0
    for trial in range(trials):
        mean = bootstrap_mean([float(rng.random() < 0.3) for _ in range(n)], trial)
        assert mean is not None
        held += mean.low <= 0.3 <= mean.high

    assert held >= trials * 0.88


def test_bootstrap_and_normal_interval_agree_at_the_switch():
    rng = random.Random(2)  # noqa: S311
    values = [rng.random() for _ in range(2_001)]

    by_normal, by_resampling = bootstrap_mean(values), bootstrap_mean(values[:-1])

    assert by_normal is not None
    assert by_resampling is not None
    assert by_normal.low == pytest.approx(by_resampling.low, abs=0.0015)
    assert by_normal.high == pytest.approx(by_resampling.high, abs=0.0015)


def test_the_difference_is_computed_pair_by_pair():
    # Rows differ a lot, but each is better by a tenth: the interval has width zero.
    baseline = [0.0, 0.2, 0.4, 0.6, 0.8] * 4
    mean = paired_difference([value + 0.1 for value in baseline], baseline)

    assert mean is not None
    assert mean.value == pytest.approx(0.1)
    assert mean.low == pytest.approx(0.1)
    assert mean.n == len(baseline)
    assert fmean(baseline) == pytest.approx(0.4)
