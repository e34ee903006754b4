"""Which architectures go on to more rows: successive halving of the dev rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple

#: Each rung has so many times the rows of the one below it.
ETA = 3
#: Rows of the first rung at the least: fewer tell nothing.
FEWEST = 5


class Standing(NamedTuple):
    """How an architecture stands at a rung."""

    #: The mean over its rows so far.
    score: float
    #: A row.
    calls: float
    #: Its place among the trials.
    n: int


def rungs(rows: int) -> tuple[int, ...]:
    """How many of the dev rows have been looked at after each rung; the last is all of them."""
    found = [rows]
    while found[0] // ETA >= FEWEST:
        found.insert(0, found[0] // ETA)
    return tuple(found)


def goes_on(ours: Standing, all_there: Sequence[Standing]) -> bool:
    """Whether an architecture goes on after a rung.

    It does when it is among the best third of those that came to this rung, ours among them
    (asynchronous successive halving: Li et al., arXiv 1810.05934). Of those with alike scores the
    one of fewer calls is better, then the earlier.
    """
    order = sorted(all_there, key=lambda one: (-round(one.score, 9), one.calls, one.n))
    return order.index(ours) < math.ceil(len(order) / ETA)
