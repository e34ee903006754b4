"""What a provider's headers say of its limits."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite, isnan

from archon_batch.rate_limits import RemainingLimits

#: A length of time as providers write it: ``1s``, ``6m0s``, ``120ms``, ``1h2m3.5s``, or seconds.
_DURATION_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
#: Seconds beyond which a moment is no length of time; in a day, as some count, there are fewer.
_MAX_SECONDS = 1_000_000.0
#: The names before which ``remaining-requests`` and the rest are put; the second has its own order.
_OPENAI, _ANTHROPIC = "x-ratelimit", "anthropic-ratelimit"


def remaining_limits(headers: Mapping[str, str]) -> RemainingLimits | None:
    """What is left of the provider's limits; None when it does not say.

    Names are looked up in lower case.
    """
    found = RemainingLimits(
        _remaining_count(headers, "requests"),
        _remaining_count(headers, "tokens"),
        _reset_seconds(headers, "requests"),
        _reset_seconds(headers, "tokens"),
    )
    return None if found == RemainingLimits() else found


def _remaining_count(headers: Mapping[str, str], what: str) -> int | None:
    words = _header(headers, what, "remaining")
    return int(words[:15]) if words.isdecimal() and words.isascii() else None


def _reset_seconds(headers: Mapping[str, str], what: str) -> float | None:
    words = _header(headers, what, "reset")
    if not words:
        return None
    if _DURATION.fullmatch(words):
        return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PARTS.findall(words))
    try:
        seconds = float(words)
    except ValueError:
        return _seconds_until(words)
    if isnan(seconds):
        return None
    if seconds > _MAX_SECONDS and isfinite(seconds):
        # The moment itself, since 1970.
        seconds -= time.time()
    return min(max(0.0, seconds), _MAX_SECONDS)


def _seconds_until(words: str) -> float | None:
    """The seconds until a moment as ISO 8601 has it."""
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, zoned.timestamp() - time.time())


def _header(headers: Mapping[str, str], what: str, part: str) -> str:
    name = f"{_OPENAI}-{part}-{what}"
    return headers.get(name) or headers.get(f"{_ANTHROPIC}-{what}-{part}") or ""
