"""Times as providers write them in headers and messages: durations, dates and timestamps.

Forms: ``45s``, ``6m0s``, ``120ms``, ``1h2m3.5s``, ``2 minutes and 5 seconds``; plain seconds;
seconds or milliseconds since 1970; HTTP dates (RFC 9110) and ISO 8601 dates.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan

#: Regular expressions for one non-negative number, and for a duration with units.
NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
DURATION = rf"(?:{NUMBER}\s{{0,2}}{_UNIT}(?:,?\s{{0,2}}(?:and\s)?))+"
_DURATION = re.compile(DURATION)
_PARTS = re.compile(rf"({NUMBER})\s{{0,2}}({_UNIT})")
#: By the first letter of the unit; milliseconds share the letter with minutes.
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MILLISECONDS = ("ms", "mil")
#: Larger numbers are timestamps since 1970: in seconds, and in milliseconds.
_MIN_TIMESTAMP, _MIN_TIMESTAMP_MS = 1e8, 1e11


def parse_duration(text: str) -> float:
    """Seconds of a duration that matches ``DURATION``, in lower case."""
    return sum(
        float(number) * (0.001 if unit.startswith(_MILLISECONDS) else _SECONDS[unit[0]])
        for number, unit in _PARTS.findall(text)
    )


def parse_number(text: str) -> float | None:
    """A number, maybe negative or infinite; None for other text and for NaN."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if isnan(number) or not text.isascii() else number


def seconds_until(text: str, now: float) -> float | None:
    """Seconds from ``now`` to the time that a header names, in any form; None where it names none.

    Args:
        text: the value of the header.
        now: seconds since 1970.
    """
    text = text.strip()
    if _DURATION.fullmatch(text.lower()):
        return parse_duration(text.lower())
    number = parse_number(text)
    if number is None:
        timestamp = _parse_date(text)
        return None if timestamp is None else max(0.0, timestamp - now)
    if _MIN_TIMESTAMP < number < float("inf"):
        return max(0.0, number / (1000 if number > _MIN_TIMESTAMP_MS else 1) - now)
    return number


def http_date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None for other text."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _parse_date(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return http_date(text)
