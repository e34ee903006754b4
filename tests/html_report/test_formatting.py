"""Formatting of numbers."""

import pytest

from archon_batch.html_report import formatting


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unpriced"), (0, "$0"), (1234.5, "$1,234.50"), (0.46143, "$0.4614"),
        (0.002306995, "$0.002307"), (1e-9, "$0.000000001"), (0.00000048, "$0.00000048"),
    ],
)  # fmt: skip
def test_usd_has_four_significant_digits(usd, text) -> None:
    assert formatting.format_usd(usd) == text


def test_usd_mentions_unpriced_calls() -> None:
    assert formatting.format_usd(0.5, 1200) == "$0.5000 + 1,200 unpriced"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0.0421, "42 ms"), (1.25, "1.2 s"), (61, "1 min 1 s"), (7384, "2 h 3 min"),
    ],
)  # fmt: skip
def test_a_duration_has_a_suitable_unit(seconds, text) -> None:
    assert formatting.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "-"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33.3 %"), (1, 10_000, "< 0.1 %"),
        (9_999, 10_000, "> 99.9 %"),
    ],
)  # fmt: skip
def test_only_exact_shares_are_0_or_100_percent(part, whole, text) -> None:
    assert formatting.format_percent(part, whole) == text
