"""Rows to search by, and rows that the search never sees."""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)


def split_rows(rows: Sequence[R], share: float, seed: int) -> tuple[list[R], list[R]]:
    """The dev rows and the held-out rows, each in an order of the hash's.

    A row's place goes by its id and the seed alone, so that rows which are added move no other
    across, but for a few at the edge.

    Args:
        rows: with ids that differ.
        share: of the rows that are dev rows, above 0 and below 1.
        seed: of the hash.
    """
    order = sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest())
    edge = min(max(1, round(share * len(order))), len(order) - 1)
    return order[:edge], order[edge:]
