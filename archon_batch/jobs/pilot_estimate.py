"""Estimates what a dataset takes from a pilot: a sample of its rows that was run.

A forecast knows the length of a row's prompts and its calls, but can only guess the length of
replies and the number of re-asks. The pilot measures by which ratio its rows differ from their
forecast, and the ratio estimator applies that ratio to the forecast of the remaining rows:

    ratio = sum(actual) / sum(forecast)        remaining = ratio * forecast of the remaining rows

For rows of one size this is the mean times the number of rows (W. G. Cochran, Sampling Techniques,
3rd ed. (1977), chapter 6). With ``n`` sampled and ``m`` remaining rows, the variance has the error
of the ratio and that of the remaining rows (R. M. Royall, Biometrika 57 (1970), 377-387):

    variance = s**2 * (remaining forecast**2 / (n * mean forecast**2) + m)
    s**2 = sum((actual - ratio * forecast)**2) / (n - 1)

For rows of one size that is ``N**2 * s**2 / n * (1 - n / N)`` (Cochran, chapter 2); the last factor
is the finite population correction. The interval uses Student's t with ``n - 1`` degrees of
freedom, cut at the high forecast of the remaining rows. It cannot cover an effect that no sampled
row showed.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from archon_batch.jobs.forecast import Estimate, Forecast

#: The share of such intervals that contains the true figure.
CONFIDENCE_LEVEL = 0.9
#: The two-sided quantile of the normal distribution at that level.
_NORMAL_QUANTILE = 1.6448536269514722
#: The same of Student's t for 1, 2, ... degrees of freedom, where the expansion is inexact.
_STUDENT_QUANTILES = (6.313752, 2.919986, 2.353363, 2.131847, 2.015048, 1.943180)


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A row of a pilot: its forecast, and what it took."""

    estimated: Estimate
    actual: Estimate


def sample_positions(rows: int, sample_size: int) -> list[int]:
    """The positions of a pilot's rows among ``rows``, always the same.

    Each row is from its own part of the dataset, so the sample is spread evenly. A hash selects the
    row in its part, since a fixed step could hit a pattern of the dataset.
    """
    parts = min(rows, sample_size)
    bounds = [part * rows // parts for part in range(parts + 1)]
    return [first + _hash(first) % (after - first) for first, after in pairwise(bounds)]


def extrapolate(sample: Sequence[SampledRow], remaining: Forecast, remaining_rows: int) -> Forecast:
    """The corrected forecast of ``remaining_rows`` rows: the expectation, and its interval.

    Args:
        sample: the pilot's rows.
        remaining: the forecast of the remaining rows.
        remaining_rows: their number.

    Returns:
        The cost is None if something has no price. With one sampled row the interval is a point.
    """
    figures = [
        _extrapolate_figure(
            [(getattr(row.estimated, f.name), getattr(row.actual, f.name)) for row in sample],
            getattr(remaining.expected, f.name),
            getattr(remaining.high, f.name),
            remaining_rows,
        )
        for f in fields(Estimate)
    ]
    return Forecast(*(Estimate(*case) for case in zip(*figures, strict=True)))


def _extrapolate_figure(
    sample: Sequence[tuple[int | None, int | None]],
    remaining: int | None,
    maximum: int | None,
    remaining_rows: int,
) -> tuple[Any, Any, Any]:
    """Low, expected and high of one figure for the remaining rows."""
    known = [(x, y) for x, y in sample if x is not None and y is not None]
    if remaining is None or maximum is None or len(known) < len(sample):
        return None, None, None
    n, estimated, actual = len(known), sum(x for x, _ in known), sum(y for _, y in known)
    if not estimated:
        # The forecast is 0 only for something free.
        return 0, 0, 0
    ratio = actual / estimated
    expected = round(ratio * remaining)
    if n == 1:
        return expected, expected, expected
    spread = sum((y - ratio * x) ** 2 for x, y in known) / (n - 1)
    variance = spread * ((remaining * n / estimated) ** 2 / n + remaining_rows)
    margin = _student_quantile(n - 1) * math.sqrt(variance)
    low, high = math.floor(ratio * remaining - margin), math.ceil(ratio * remaining + margin)
    return max(0, low), expected, max(expected, min(high, maximum))


def _student_quantile(degrees_of_freedom: int) -> float:
    """Student's t: M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, 26.7.5."""
    if degrees_of_freedom <= len(_STUDENT_QUANTILES):
        return _STUDENT_QUANTILES[degrees_of_freedom - 1]
    z, v = _NORMAL_QUANTILE, degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def _hash(number: int) -> int:
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big")
