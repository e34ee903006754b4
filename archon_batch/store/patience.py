"""Waits for a database that is away: a restart, a failover."""

import time
from collections.abc import Callable
from typing import TypeVar

from archon_batch.errors import StoreReplacedError, StoreUnavailableError

_T = TypeVar("_T")

#: Seconds that a database may be away before it is given up.
MAX_UNAVAILABLE_SECONDS = 60.0
_RETRY_INTERVAL = 0.2


def retry_while_unavailable(operation: Callable[[], _T]) -> _T:
    """Do it, again and again while the database is away.

    It has to be safe to do again, also when only the confirmation of a commit was lost.

    Raises:
        StoreAwayError: the database was away for longer than ``PATIENCE``.
        StoreGoneError: it is not the one that was there, at once.
    """
    end = time.monotonic() + MAX_UNAVAILABLE_SECONDS
    while True:
        try:
            return operation()
        except StoreReplacedError:
            raise
        except StoreUnavailableError:
            if time.monotonic() > end:
                raise
            time.sleep(_RETRY_INTERVAL)
