"""What a dataset will take, judged by some of its rows that were run: a pilot.

Each figure is foreseen by the ratio estimator. A forecast knows how long a row's prompts are and
what is asked of it; how long replies are, and how often they are asked for again, it can only
guess. So the pilot says how much more or less its rows took than was foreseen of them, and the
rest is taken to need as much more or less:

    ratio = sum(taken) / sum(foreseen)        rest = ratio * foreseen of the rest

For rows of one size this is their mean times the rows. The ratio estimator: W. G. Cochran, Sampling
Techniques, 3rd ed. (1977), chapter 6. What it may be off by, for ``n`` rows of a pilot and ``m`` of
the rest, is the error of the ratio and that of the rows themselves, as in R. M. Royall, Biometrika
57 (1970), 377-387:

    variance = s**2 * (rest foreseen**2 / (n * mean foreseen**2) + m)
    s**2 = sum((taken - ratio * foreseen)**2) / (n - 1)

For rows of one size that is ``N**2 * s**2 / n * (1 - n / N)`` (Cochran, chapter 2), in which the
last factor is the finite population correction. The interval is that of Student's t with ``n - 1``
degrees of freedom, and reaches no further than what the rest takes at the most. It knows nothing of
what no row of the pilot showed.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from archon_batch.jobs.forecast import Estimate, Forecast

#: The part of such intervals that has the true figure.
CONFIDENCE_LEVEL = 0.9
#: The normal distribution's quantile with as much on either side together.
_NORMAL_QUANTILE = 1.6448536269514722
#: Student's t of the same, for the degrees of freedom from 1 at which the expansion is not exact.
_STUDENT_QUANTILES = (6.313752, 2.919986, 2.353363, 2.131847, 2.015048, 1.943180)


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A row of a pilot: what was foreseen of it, and what it took."""

    estimated: Estimate
    actual: Estimate


def sample_positions(rows: int, sample_size: int) -> list[int]:
    """Which of so many rows a pilot of so many runs: always the same.

    Each is from its own part of the dataset, so that they are spread evenly. Where in its part
    follows from a hash: every tenth row may be of a kind of its own.
    """
    parts = min(rows, sample_size)
    bounds = [part * rows // parts for part in range(parts + 1)]
    return [first + _hash(first) % (after - first) for first, after in pairwise(bounds)]


def extrapolate(sample: Sequence[SampledRow], remaining: Forecast, remaining_rows: int) -> Forecast:
    """What ``remaining_rows`` more will take, of which ``remaining`` is foreseen: expected, and an interval.

    Money is None when something has no price. A pilot of one row has no interval.
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
    """The figure of the rest at least, as expected, and at most."""
    known = [(x, y) for x, y in sample if x is not None and y is not None]
    if remaining is None or maximum is None or len(known) < len(sample):
        return None, None, None
    n, foreseen, taken = len(known), sum(x for x, _ in known), sum(y for _, y in known)
    if not foreseen:
        # Nothing was foreseen since it is free.
        return 0, 0, 0
    ratio = taken / foreseen
    expected = round(ratio * remaining)
    if n == 1:
        return expected, expected, expected
    spread = sum((y - ratio * x) ** 2 for x, y in known) / (n - 1)
    variance = spread * ((remaining * n / foreseen) ** 2 / n + remaining_rows)
    off = _student_quantile(n - 1) * math.sqrt(variance)
    low, high = math.floor(ratio * remaining - off), math.ceil(ratio * remaining + off)
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
