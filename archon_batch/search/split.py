"""The split of the rows into dev rows and held-out rows."""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)


def split_rows(rows: Sequence[R], share: float, seed: int) -> tuple[list[R], list[R]]:
    """The dev rows and the held-out rows, each ordered by a hash of id and seed.

    A row's position depends only on its id and the seed, so adding rows moves only a few rows at
    the edge to the other part.

    Args:
        rows: with distinct ids.
        share: of dev rows; above 0 and below 1.
        seed: of the hash.
    """
    order = sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest())
    edge = min(max(1, round(share * len(order))), len(order) - 1)
    return order[:edge], order[edge:]
