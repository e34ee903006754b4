"""Figures in words."""

import pytest

from archon_batch.html_report import formatting


@pytest.mark.parametrize(
    ("usd", "told"),
    [
        (None, "unpriced"), (0, "$0"), (1234.5, "$1,234.50"), (0.46143, "$0.4614"),
        (0.002306995, "$0.002307"), (1e-9, "$0.000000001"), (0.00000048, "$0.00000048"),
    ],
)  # fmt: skip
def test_money_has_the_digits_that_say_something(usd, told) -> None:
    assert formatting.format_usd(usd) == told


def test_money_says_what_is_not_in_it() -> None:
    assert formatting.format_usd(0.5, 1200) == "$0.5000 + 1,200 unpriced"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "-"), (0.0421, "42 ms"), (1.25, "1.2 s"), (61, "1 min 1 s"), (7384, "2 h 3 min"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_its_own_measure(seconds, told) -> None:
    assert formatting.format_duration(seconds) == told


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (0, 0, "-"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33.3 %"), (1, 10_000, "< 0.1 %"),
        (9_999, 10_000, "> 99.9 %"),
    ],
)  # fmt: skip
def test_a_share_is_nothing_or_all_only_where_it_is(part, whole, told) -> None:
    assert formatting.format_percent(part, whole) == told
