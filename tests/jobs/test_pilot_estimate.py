"""What a pilot says of the rows that were not run."""

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
ENDLESS = Estimate(10**9, 10**9, 10**9, 10**9)


def piloted(foreseen, taken):
    return [SampledRow(alike(x), alike(y)) for x, y in zip(foreseen, taken, strict=True)]


def alike(figure):
    return Estimate(figure, figure, figure, figure)


def judged(foreseen, taken, rest, rows, most=ENDLESS):
    """Low, expected and high of a figure of the rest."""
    told = extrapolate(piloted(foreseen, taken), Forecast(Estimate(), alike(rest), most), rows)
    assert told.expected == alike(told.expected.cost)
    return told.low.cost, told.expected.cost, told.high.cost


@given(rows=st.integers(1, 5_000), pilot=st.integers(1, 200))
def test_a_pilot_has_a_row_of_every_part_of_the_dataset(rows, pilot):
    chosen = sample_positions(rows, pilot)

    assert len(chosen) == min(rows, pilot)
    assert chosen == sample_positions(rows, pilot)
    for part, place in enumerate(chosen):
        assert part * rows // len(chosen) <= place < (part + 1) * rows // len(chosen)


def test_a_pilot_is_not_of_one_kind_when_kinds_take_turns():
    odd = sum(place % 2 for place in sample_positions(1_000, 50))

    assert 15 < odd < 35
    assert len({place % 10 for place in sample_positions(1_000, 100)}) == 10


def test_rows_of_one_size_are_judged_by_their_mean():
    low, expected, high = judged([10] * 4, [100, 140, 100, 140], rest=10 * 36, rows=36)

    assert expected == 120 * 36
    # N * t * s / sqrt(n) * sqrt(1 - n / N), for N = 40 and Student's t with 3 degrees of freedom.
    off = 40 * 2.353363 * math.sqrt(1_600 / 3) / 2 * math.sqrt(1 - 4 / 40)
    assert (low, high) == (math.floor(expected - off), math.ceil(expected + off))


def test_long_rows_are_judged_to_take_more_than_short_ones():
    _, short, _ = judged([10, 30], [5, 15], rest=100, rows=10)
    low, long, high = judged([10, 30], [5, 15], rest=900, rows=10)

    assert (short, long) == (50, 450)
    # The pilot took just half of what was foreseen, of both rows alike.
    assert (low, high) == (450, 450)


def test_rows_that_are_less_alike_have_a_wider_interval_and_more_rows_a_narrower_one():
    def width(taken, rows):
        low, _, high = judged([10] * len(taken), taken, rest=10 * rows, rows=rows)
        return high - low

    assert width([90, 110, 90, 110], 50) < width([50, 150, 50, 150], 50)
    assert width([50, 150] * 2, 50) > width([50, 150] * 5, 50) > width([50, 150] * 20, 50)


@pytest.mark.parametrize(
    ("rows", "student"),
    [(2, 6.3138), (3, 2.9200), (7, 1.9432), (8, 1.8946), (11, 1.8125), (31, 1.6973), (121, 1.6577)],
)
def test_few_rows_are_trusted_as_far_as_student_says(rows, student):
    taken = [10**6 + (1 if n % 2 else -1) * 10**5 for n in range(rows)]
    mean = sum(taken) / rows
    spread = math.sqrt(sum((y - mean) ** 2 for y in taken) / (rows - 1))

    _, expected, high = judged([1] * rows, taken, rest=10**4, rows=10**4, most=alike(10**15))

    error = spread * math.sqrt(10**8 / rows + 10**4)
    assert (high - expected) / error == pytest.approx(student, abs=0.0003)


def test_the_interval_ends_where_nothing_can_be():
    low, expected, high = judged([10, 10], [1, 99], rest=100, rows=10, most=alike(700))

    assert (low, expected, high) == (0, 500, 700)


def test_when_nothing_is_left_the_rest_takes_nothing():
    assert judged([10, 20], [7, 3], rest=0, rows=0) == (0, 0, 0)


def test_what_has_no_price_is_not_judged_and_the_rest_of_it_is():
    pilot = [SampledRow(Estimate(1, 10, 10, None), Estimate(2, 20, 5, None))] * 2

    told = extrapolate(pilot, Forecast(expected=Estimate(4, 40, 40, None), high=ENDLESS), 4)

    assert told.expected == Estimate(8, 80, 20, None)
    assert (told.low.cost, told.high.cost) == (None, None)


def test_one_unpriced_row_of_the_pilot_leaves_the_money_unknown():
    pilot = [*piloted([10], [10]), SampledRow(alike(10), Estimate(10, 10, 10, None))]

    told = extrapolate(pilot, Forecast(expected=alike(40), high=ENDLESS), 4)

    assert told.expected == Estimate(40, 40, 40, None)


def test_what_is_free_stays_free():
    pilot = [SampledRow(Estimate(1, 10, 10, 0), Estimate(1, 10, 10, 0))] * 3

    told = extrapolate(pilot, Forecast(expected=Estimate(4, 40, 40, 0), high=ENDLESS), 4)

    assert (told.low.cost, told.expected.cost, told.high.cost) == (0, 0, 0)


def cost(architecture, question):
    """What a row costs by the price list; the script's tokens are words."""
    usages = []

    def answer(call):
        reply = final_reply(call)
        usages.append(reply.usage)
        return reply

    run_item(architecture, question, answer)
    return sum(PRICES[MODEL].cost(usage) for usage in usages)


@pytest.fixture(scope="module")
def nights():
    """Twenty jobs of forty rows each: what was foreseen, what each row cost, what a pilot says."""
    told = []
    for seed in range(20):
        dice = Random(seed)  # noqa: S311  (no secret rests on it)
        architecture = a_random_architecture(seed, [MODEL])
        rows = [
            a_question(f"What is {n}? " + "word " * dice.randint(1, 80), row=f"row-{n}")
            for n in range(40)
        ]
        costs = [cost(architecture, row) for row in rows]
        chosen = sample_positions(40, 8)
        others = [row for place, row in enumerate(rows) if place not in chosen]
        pilot = [
            SampledRow(
                total_forecast(
                    forecast(architecture, PRICES, DatasetSize.from_questions([rows[place]]))
                ).expected,
                Estimate(1, 1, 1, costs[place]),
            )
            for place in chosen
        ]
        rest = total_forecast(forecast(architecture, PRICES, DatasetSize.from_questions(others)))
        paid = Estimate(cost=sum(costs[place] for place in chosen))
        says = [case + paid for case in vars_of(extrapolate(pilot, rest, 32))]
        told.append(
            (
                total_forecast(forecast(architecture, PRICES, DatasetSize.from_questions(rows))),
                sum(costs),
                says,
            )
        )
    return told


def vars_of(figures):
    return figures.low, figures.expected, figures.high


def test_no_job_costs_less_than_low_or_more_than_high(nights):
    for foreseen, spent, _ in nights:
        assert foreseen.low.cost <= spent <= foreseen.high.cost


def test_the_interval_of_a_pilot_has_the_true_total_nearly_always(nights):
    has = [low.cost <= spent <= high.cost for _, spent, (low, _, high) in nights]

    # Nine of ten are expected: fewer than fifteen of twenty come by in one of a hundred times.
    assert sum(has) >= 15


def test_a_pilot_comes_nearer_than_the_forecast_does(nights):
    def off(told, spent):
        return abs(told / spent - 1)

    by_pilot = sorted(off(expected.cost, spent) for _, spent, (_, expected, _) in nights)
    by_forecast = sorted(off(foreseen.expected.cost, spent) for foreseen, spent, _ in nights)

    assert by_pilot[10] < 0.1
    assert by_pilot[-1] < by_forecast[0]
