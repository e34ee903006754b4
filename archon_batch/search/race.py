"""Which architectures go on to more rows: successive halving of the dev rows."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

Scores = Mapping[str, float]

#: Each rung has so many times the rows of the one below it.
ETA = 3
#: Rows of the first rung at the least: fewer tell nothing.
FEWEST = 5
#: What a sum of floats may miss 0 by.
_NOTHING = 1e-9


def rungs(rows: int) -> tuple[int, ...]:
    """How many of the dev rows have been looked at after each rung; the last is all of them."""
    found = [rows]
    while found[0] // ETA >= FEWEST:
        found.insert(0, found[0] // ETA)
    return tuple(found)


def goes_on(ours: Scores, all_there: Sequence[Scores]) -> bool:
    """Whether an architecture goes on after a rung, by the scores of its rows so far.

    It does when it is among the best third of those that came to this rung, or alike to the last of
    them (asynchronous successive halving: Li et al., arXiv 1810.05934).

    Args:
        ours: scores of the rows up to this rung, by the row's id.
        all_there: the same of all that came to this rung, ours among them.
    """
    means = sorted(map(_mean, all_there), reverse=True)
    edge = means[math.ceil(len(means) / ETA) - 1]
    return _mean(ours) >= edge - _NOTHING


def _mean(scores: Scores) -> float:
    return fmean(scores.values()) if scores else 0.0
