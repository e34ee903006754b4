"""Waits for a database that is away: a restart, a failover."""

import time
from collections.abc import Callable
from typing import TypeVar

from archon_batch.errors import StoreAwayError, StoreGoneError

_T = TypeVar("_T")

#: Seconds that a database may be away before it is given up.
PATIENCE = 60.0
_AGAIN = 0.2


def patiently(what: Callable[[], _T]) -> _T:
    """Do it, again and again while the database is away.

    It has to be safe to do again, also when only the confirmation of a commit was lost.

    Raises:
        StoreAwayError: the database was away for longer than ``PATIENCE``.
        StoreGoneError: it is not the one that was there, at once.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return what()
        except StoreGoneError:
            raise
        except StoreAwayError:
            if time.monotonic() > end:
                raise
            time.sleep(_AGAIN)
