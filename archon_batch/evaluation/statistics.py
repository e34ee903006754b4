"""Means with confidence intervals, and pass@k."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pvariance
from typing import Any

CONFIDENCE = 0.95
#: Bootstrap resamples: the ends of the interval are stable to a fiftieth of its width.
RESAMPLES = 2_000
#: Above this number of values the bootstrap and the normal distribution agree to three digits.
_NORMAL_FROM = 2_000


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean with its 95 % confidence interval."""

    value: float
    low: float
    high: float
    #: How many values the mean is over.
    n: int

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.n, "mean": self.value, "low": self.low, "high": self.high}


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> MeanEstimate | None:
    """The mean with its percentile bootstrap interval (Efron, 1979); None without values."""
    if not values:
        return None
    middle, n = fmean(values), len(values)
    if n > _NORMAL_FROM:
        half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(pvariance(values) / n)
        return MeanEstimate(middle, middle - half, middle + half, n)
    rng = random.Random(seed)  # noqa: S311  (not a secret)
    means = sorted(fmean(rng.choices(values, k=n)) for _ in range(RESAMPLES))
    low = means[round((1 - CONFIDENCE) / 2 * (RESAMPLES - 1))]
    high = means[round((1 + CONFIDENCE) / 2 * (RESAMPLES - 1))]
    return MeanEstimate(middle, low, high, n)


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], seed: int = 0
) -> MeanEstimate | None:
    """The mean of ``values`` minus ``baseline``, pair by pair, with its 95 % interval."""
    return bootstrap_mean([a - b for a, b in zip(values, baseline, strict=True)], seed)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimate of the probability that one of ``k`` samples is correct.

    Chen et al. (arXiv 2107.03374), section 2.1: 1 - C(n - c, k) / C(n, k).

    Raises:
        ValueError: there are fewer samples than ``k`` or than correct samples.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError("expected 0 <= correct <= samples and 1 <= k <= samples")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)
