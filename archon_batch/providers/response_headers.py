"""The rate limits that a provider reports in its response headers."""

import time
from collections.abc import Mapping

from archon_batch.providers.durations import seconds_until
from archon_batch.rate_limits import RemainingLimits

#: Seconds beyond which no reset is credible: eleven days.
_MAX_SECONDS = 1_000_000.0
#: Prefixes of the header names; Anthropic puts the words in another order.
_OPENAI, _ANTHROPIC = "x-ratelimit", "anthropic-ratelimit"


def remaining_limits(headers: Mapping[str, str]) -> RemainingLimits | None:
    """What remains of the provider's limits; None where the headers do not say.

    Args:
        headers: of the response, with names in lower case.
    """
    remaining = RemainingLimits(
        _remaining_count(headers, "requests"),
        _remaining_count(headers, "tokens"),
        _reset_seconds(headers, "requests"),
        _reset_seconds(headers, "tokens"),
    )
    return None if remaining == RemainingLimits() else remaining


def _remaining_count(headers: Mapping[str, str], unit: str) -> int | None:
    value = _header(headers, unit, "remaining")
    return int(value[:15]) if value.isdecimal() and value.isascii() else None


def _reset_seconds(headers: Mapping[str, str], unit: str) -> float | None:
    seconds = seconds_until(_header(headers, unit, "reset"), time.time())
    return None if seconds is None else min(max(0.0, seconds), _MAX_SECONDS)


def _header(headers: Mapping[str, str], unit: str, part: str) -> str:
    name = f"{_OPENAI}-{part}-{unit}"
    return headers.get(name) or headers.get(f"{_ANTHROPIC}-{unit}-{part}") or ""
