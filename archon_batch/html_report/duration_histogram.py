"""A histogram of durations in constant memory, with logarithmic bins of 2 %."""

import math
from collections import Counter

#: The width of a bin in log seconds.
_LOG_BIN_WIDTH = math.log(1.02)
#: Shorter durations, in seconds, count as this.
_MIN_SECONDS = 0.001


class DurationHistogram:
    """A histogram of durations; quantiles are accurate to 1 % or a millisecond."""

    def __init__(self) -> None:
        #: Counts by bin number.
        self.bins: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.bins.total()

    def add(self, seconds: float) -> None:
        # If the clock was set back, a duration is negative.
        self.bins[round(math.log(max(seconds, _MIN_SECONDS) / _MIN_SECONDS) / _LOG_BIN_WIDTH)] += 1

    def merge(self, other: "DurationHistogram") -> None:
        self.bins.update(other.bins)

    def quantile(self, share: float) -> float:
        """The duration in seconds below which that share of the durations lies.

        Args:
            share: above 0, at most 1.

        Raises:
            ValueError: the histogram is empty.
        """
        wanted = share * len(self)
        passed = 0
        for index in sorted(self.bins):
            passed += self.bins[index]
            if passed >= wanted:
                return _MIN_SECONDS * math.exp(index * _LOG_BIN_WIDTH)
        raise ValueError("the histogram is empty")
