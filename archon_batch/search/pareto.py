"""The Pareto front: what costs less than everything that is better."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def pareto_front(
    items: Sequence[T], score: Callable[[T], float], cost: Callable[[T], float]
) -> list[T]:
    """Those that nothing beats in one of the two without being beaten in the other; cheapest first.

    Of several that are alike in both, the first.
    """
    kept: list[T] = []
    for one in sorted(items, key=lambda one: (cost(one), -score(one))):
        if not kept or score(one) > score(kept[-1]):
            kept.append(one)
    return kept
