"""How many files a process may have open: each call in flight is one."""

import resource
from contextlib import suppress

import structlog

#: Files of a process besides its calls' connections: the database's, the broker's, libraries'.
RESERVED_FILES = 64

_log = structlog.get_logger()


def fit_to_open_files(in_flight: int) -> int:
    """Raise this process's limit as far as that is allowed; return how many calls fit below it."""
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
    # Where there are fewest, a part for either.
    fit = max(1, min(in_flight, limit - min(RESERVED_FILES, limit * 5 // 8)))
    _log.warning("open_files_limit_too_low", limit=limit, wanted=wanted, in_flight=fit)
    return fit


def _is_less(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted
