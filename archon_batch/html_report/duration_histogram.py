"""Durations by the million in little room: counted in bins whose edges are 2 % apart."""

import math
from collections import Counter

#: From one bin to the next.
_LOG_BIN_WIDTH = math.log(1.02)
#: Seconds below which all is alike.
_MIN_SECONDS = 0.001


class DurationHistogram:
    """How durations are spread; what it says is within 1 % of them, or within a millisecond."""

    def __init__(self) -> None:
        #: How many by the number of the bin.
        self.bins: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.bins.total()

    def add(self, seconds: float) -> None:
        # A clock that was set back in between makes a duration below nothing.
        self.bins[round(math.log(max(seconds, _MIN_SECONDS) / _MIN_SECONDS) / _LOG_BIN_WIDTH)] += 1

    def merge(self, other: "DurationHistogram") -> None:
        self.bins.update(other.bins)

    def quantile(self, share: float) -> float:
        """The seconds that such a share of them took at the most; ``share`` is above 0, up to 1.

        Raises:
            ValueError: there are none.
        """
        wanted = share * len(self)
        passed = 0
        for index in sorted(self.bins):
            passed += self.bins[index]
            if passed >= wanted:
                return _MIN_SECONDS * math.exp(index * _LOG_BIN_WIDTH)
        raise ValueError("nothing was measured")
