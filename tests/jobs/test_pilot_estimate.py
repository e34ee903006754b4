"""The estimate of a pilot for the rows that were not run."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import run_item
from archon_batch.jobs.forecast import DatasetSize, Estimate, Forecast, forecast, total_forecast
from archon_batch.jobs.pilot_estimate import SampledRow, extrapolate, sample_positions
from archon_batch.money import Price
from archon_batch.providers import final_reply
from tests.builders import MODEL, a_question, a_random_architecture

PRICES = {MODEL: Price(2_000_000_000, 10_000_000_000)}
UNLIMITED = Estimate(10**9, 10**9, 10**9, 10**9)


def sample(forecasts, actual):
    return [SampledRow(equal(x), equal(y)) for x, y in zip(forecasts, actual, strict=True)]


def equal(figure):
    return Estimate(figure, figure, figure, figure)


def estimate(forecasts, actual, rest, rows, maximum=UNLIMITED):
    """Low, expected and high of a figure for the remaining rows."""
    remaining = Forecast(Estimate(), equal(rest), maximum)
    estimated = extrapolate(sample(forecasts, actual), remaining, rows)
    assert estimated.expected == equal(estimated.expected.cost)
    return estimated.low.cost, estimated.expected.cost, estimated.high.cost


@given(rows=st.integers(1, 5_000), pilot=st.integers(1, 200))
def test_a_pilot_has_a_row_from_every_part_of_the_dataset(rows, pilot):
    chosen = sample_positions(rows, pilot)

    assert len(chosen) == min(rows, pilot)
    assert chosen == sample_positions(rows, pilot)
    for part, position in enumerate(chosen):
        assert part * rows // len(chosen) <= position < (part + 1) * rows // len(chosen)


def test_a_pilot_has_rows_of_all_kinds_when_kinds_alternate():
    odd = sum(position % 2 for position in sample_positions(1_000, 50))

    assert 15 < odd < 35
    assert len({position % 10 for position in sample_positions(1_000, 100)}) == 10


def test_the_estimate_for_rows_of_one_size_is_their_mean():
    low, expected, high = estimate([10] * 4, [100, 140, 100, 140], rest=10 * 36, rows=36)

    assert expected == 120 * 36
    # N * t * s / sqrt(n) * sqrt(1 - n / N), for N = 40 and Student's t with 3 degrees of freedom.
    margin = 40 * 2.353363 * math.sqrt(1_600 / 3) / 2 * math.sqrt(1 - 4 / 40)
    assert (low, high) == (math.floor(expected - margin), math.ceil(expected + margin))


def test_the_estimate_for_long_rows_is_higher():
    _, short, _ = estimate([10, 30], [5, 15], rest=100, rows=10)
    low, long, high = estimate([10, 30], [5, 15], rest=900, rows=10)

    assert (short, long) == (50, 450)
    # Both rows took exactly half of their forecast.
    assert (low, high) == (450, 450)


def test_the_interval_widens_with_the_variance_and_narrows_with_the_sample():
    def width(actual, rows):
        low, _, high = estimate([10] * len(actual), actual, rest=10 * rows, rows=rows)
        return high - low

    assert width([90, 110, 90, 110], 50) < width([50, 150, 50, 150], 50)
    assert width([50, 150] * 2, 50) > width([50, 150] * 5, 50) > width([50, 150] * 20, 50)


@pytest.mark.parametrize(
    ("rows", "student"),
    [(2, 6.3138), (3, 2.9200), (7, 1.9432), (8, 1.8946), (11, 1.8125), (31, 1.6973), (121, 1.6577)],
)
def test_the_interval_uses_students_t(rows, student):
    actual = [10**6 + (1 if n % 2 else -1) * 10**5 for n in range(rows)]
    mean = sum(actual) / rows
    spread = math.sqrt(sum((y - mean) ** 2 for y in actual) / (rows - 1))

    _, expected, high = estimate([1] * rows, actual, rest=10**4, rows=10**4, maximum=equal(10**15))

    error = spread * math.sqrt(10**8 / rows + 10**4)
    assert (high - expected) / error == pytest.approx(student, abs=0.0003)


def test_the_interval_stays_between_zero_and_the_high_forecast():
    low, expected, high = estimate([10, 10], [1, 99], rest=100, rows=10, maximum=equal(700))

    assert (low, expected, high) == (0, 500, 700)


def test_without_remaining_rows_the_estimate_is_zero():
    assert estimate([10, 20], [7, 3], rest=0, rows=0) == (0, 0, 0)


def test_without_a_price_only_the_cost_is_unknown():
    pilot = [SampledRow(Estimate(1, 10, 10, None), Estimate(2, 20, 5, None))] * 2

    estimated = extrapolate(pilot, Forecast(expected=Estimate(4, 40, 40, None), high=UNLIMITED), 4)

    assert estimated.expected == Estimate(8, 80, 20, None)
    assert (estimated.low.cost, estimated.high.cost) == (None, None)


def test_one_unpriced_row_of_the_pilot_makes_the_cost_unknown():
    pilot = [*sample([10], [10]), SampledRow(equal(10), Estimate(10, 10, 10, None))]

    estimated = extrapolate(pilot, Forecast(expected=equal(40), high=UNLIMITED), 4)

    assert estimated.expected == Estimate(40, 40, 40, None)


def test_free_calls_stay_free():
    pilot = [SampledRow(Estimate(1, 10, 10, 0), Estimate(1, 10, 10, 0))] * 3

    estimated = extrapolate(pilot, Forecast(expected=Estimate(4, 40, 40, 0), high=UNLIMITED), 4)

    assert (estimated.low.cost, estimated.expected.cost, estimated.high.cost) == (0, 0, 0)


def cost(architecture, question):
    """The cost of a row; the scripted provider counts words as tokens."""
    usages = []

    def answer(call):
        reply = final_reply(call)
        usages.append(reply.usage)
        return reply

    run_item(architecture, question, answer)
    return sum(PRICES[MODEL].cost(usage) for usage in usages)


@pytest.fixture(scope="module")
def jobs():
    """Twenty jobs of forty rows each: the forecast, the cost, and the estimate of a pilot."""
    results = []
    for seed in range(20):
        rng = Random(seed)  # noqa: S311  (not for secrets)
        architecture = a_random_architecture(seed, [MODEL])
        rows = [
            a_question(f"What is {n}? " + "word " * rng.randint(1, 80), row=f"row-{n}")
            for n in range(40)
        ]
        costs = [cost(architecture, row) for row in rows]
        chosen = sample_positions(40, 8)
        others = [row for position, row in enumerate(rows) if position not in chosen]
        pilot = [
            SampledRow(
                total_forecast(
                    forecast(architecture, PRICES, DatasetSize.from_questions([rows[position]]))
                ).expected,
                Estimate(1, 1, 1, costs[position]),
            )
            for position in chosen
        ]
        rest = total_forecast(forecast(architecture, PRICES, DatasetSize.from_questions(others)))
        paid = Estimate(cost=sum(costs[position] for position in chosen))
        estimates = [case + paid for case in vars_of(extrapolate(pilot, rest, 32))]
        results.append(
            (
                total_forecast(forecast(architecture, PRICES, DatasetSize.from_questions(rows))),
                sum(costs),
                estimates,
            )
        )
    return results


def vars_of(figures):
    return figures.low, figures.expected, figures.high


def test_no_job_costs_less_than_low_or_more_than_high(jobs):
    for predicted, spent, _ in jobs:
        assert predicted.low.cost <= spent <= predicted.high.cost


def test_the_interval_of_a_pilot_contains_the_cost_in_most_jobs(jobs):
    contains = [low.cost <= spent <= high.cost for _, spent, (low, _, high) in jobs]

    # Nine of ten are expected; fewer than fifteen of twenty have a probability of one percent.
    assert sum(contains) >= 15


def test_a_pilot_is_more_accurate_than_the_forecast(jobs):
    def relative_error(predicted, spent):
        return abs(predicted / spent - 1)

    by_pilot = sorted(relative_error(expected.cost, spent) for _, spent, (_, expected, _) in jobs)
    by_forecast = sorted(
        relative_error(predicted.expected.cost, spent) for predicted, spent, _ in jobs
    )

    assert by_pilot[10] < 0.1
    assert by_pilot[-1] < by_forecast[0]
