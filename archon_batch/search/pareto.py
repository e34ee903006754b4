"""The Pareto front of score and cost."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def pareto_front(
    items: Sequence[T], score: Callable[[T], float], cost: Callable[[T], float]
) -> list[T]:
    """The items that no other item beats in score or cost without losing in the other one.

    Cheapest first; the first of several items that are equal in both.
    """
    best: list[T] = []
    for item in sorted(items, key=lambda item: (cost(item), -score(item))):
        if not best or score(item) > score(best[-1]):
            best.append(item)
    return best
