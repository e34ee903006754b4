"""Fits the calls in flight to the limit of open files: each call takes one."""

import resource
from contextlib import suppress

import structlog

#: Open files besides the connections of calls: database, broker, libraries.
RESERVED_FILES = 64

_log = structlog.get_logger()


def fit_to_open_files(in_flight: int) -> int:
    """Raise this process's limit as far as allowed; return how many calls fit."""
    wanted = in_flight + RESERVED_FILES
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_less(limit, wanted):
        with suppress(ValueError, OSError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (most if _is_less(most, wanted) else wanted, most)
            )
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _is_less(limit, wanted):
        return in_flight
    # With a very low limit, share it between both.
    fitting = max(1, min(in_flight, limit - min(RESERVED_FILES, limit * 5 // 8)))
    _log.warning("open_files_limit_too_low", limit=limit, wanted=wanted, in_flight=fitting)
    return fitting


def _is_less(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted
