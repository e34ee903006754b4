"""Means with the interval that chance alone would explain."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pvariance

CONFIDENCE = 0.95
#: Resamples; the ends of the interval are then stable to about a fiftieth of its width.
RESAMPLES = 2_000
#: Beyond so many values resampling and the normal distribution agree to three digits.
_MANY = 2_000


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> MeanEstimate | None:
    """The mean with its 95 % interval: the percentile bootstrap (Efron, 1979); None of nothing."""
    if not values:
        return None
    middle, n = fmean(values), len(values)
    if n > _MANY:
        half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(pvariance(values) / n)
        return MeanEstimate(middle, middle - half, middle + half, n)
    dice = random.Random(seed)  # noqa: S311  (not a secret: the same twice)
    means = sorted(fmean(dice.choices(values, k=n)) for _ in range(RESAMPLES))
    low = means[round((1 - CONFIDENCE) / 2 * (RESAMPLES - 1))]
    high = means[round((1 + CONFIDENCE) / 2 * (RESAMPLES - 1))]
    return MeanEstimate(middle, low, high, n)


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 0
) -> MeanEstimate | None:
    """The mean of ours minus theirs, row by row, with its 95 % interval."""
    return bootstrap_mean([a - b for a, b in zip(ours, theirs, strict=True)], seed)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that one of ``k`` samples is right, from more samples, without bias.

    Chen et al. (arXiv 2107.03374), section 2.1: 1 - C(n - c, k) / C(n, k).
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError("there have to be k samples, and no more right ones than there are")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)
