"""How long a provider asks to be left alone: by its headers, then by the words of its refusal.

Forms, and who writes them: ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3), which some
servers write as ``45s`` or ``6m0s``; ``retry-after-ms`` and ``x-ms-retry-after-ms`` (OpenAI, Azure);
"Please try again in 7.66s" (OpenAI, Groq), "Please retry after 33 seconds" (Azure), ``retryDelay``
(Google); ``X-RateLimit-Reset`` in milliseconds since 1970, also inside the body (OpenRouter);
``x-ratelimit-reset-requests-day`` in seconds (Cerebras).
"""

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from archon_batch.errors import TransientError
from archon_batch.money import MAX_OUTAGE
from archon_batch.providers.response_headers import remaining_limits

#: Characters of a refusal in which it is looked for a wait.
_MAX_MESSAGE = 1 << 14
#: Seconds beyond which nothing is a wait: a month of a quota's has fewer.
_MAX_WAIT = 32 * 86_400.0
#: Numbers from which on they are a moment: in seconds since 1970, and in milliseconds.
_MIN_TIMESTAMP, _MIN_TIMESTAMP_MS = 1e8, 1e11
#: Seconds of a wait up to which the word "daily" beside it does not mean that a day is used up.
_SHORT_WAIT = 120.0

_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
_DURATION_PARTS = re.compile(rf"({_NUMBER})\s{{0,2}}({_UNIT})")
_DURATION = rf"(?:{_NUMBER}\s{{0,2}}{_UNIT}(?:,?\s{{0,2}}(?:and\s)?))+"
_WHOLE_DURATION = re.compile(_DURATION)
#: By the first letter of a unit; a thousandth of a second has that of a minute.
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MILLI = ("ms", "mil")
_WAIT_PHRASE = re.compile(rf"(?:try again|retry|wait|reset)[^\d.]{{0,32}}(?P<span>{_DURATION})")
_RETRY_AFTER_FIELD = re.compile(
    rf"retry[-_]?after(?P<ms>[-_]?ms)?[\"']?\s?[:=]\s?[\"']?(?P<number>{_NUMBER})\b"
)
_RESET_FIELD = re.compile(rf"x-ratelimit-reset[\"']?\s?[:=]\s?[\"']?(?P<moment>{_NUMBER})")

#: A limit by the day, by its name; and by words that may be said beside a limit by the minute.
_DAILY_LIMIT = re.compile(r"free-models-per-day|perday|\b[rt]pd\b")
_MAYBE_DAILY_LIMIT = re.compile(r"\bper[ -]day\b|\bdaily\b")
_MINUTE_LIMIT = re.compile(r"\bper[ -]?min")


def set_retry_hints(
    error: TransientError,
    headers: Mapping[str, str],
    message: str = "",
    prompts: Iterable[str] = (),
) -> None:
    """Put onto the error what the provider says of its limits, and of how long they last.

    Args:
        error: how a call ended.
        headers: of the answer, looked up in lower case.
        message: its body.
        prompts: what was asked; words that quote it have no say.
    """
    said = message[:_MAX_MESSAGE].lower()
    asked = " ".join(prompts).lower() if said else ""
    error.remaining_limits = remaining_limits(headers)
    error.retry_after = retry_after_seconds(headers, said, asked)
    if error.retry_after is None and error.remaining_limits is not None:
        error.retry_after = error.remaining_limits.cooldown or None
    error.long_wait_reason = _long_wait_reason(error.retry_after, said, asked)


def retry_after_seconds(
    headers: Mapping[str, str], message: str = "", prompt: str = ""
) -> float | None:
    """The seconds that the provider asks for, at least 0; None when it asks for none.

    Args:
        headers: of the answer, looked up in lower case.
        message: the body in lower case.
        prompt: the prompt in lower case.
    """
    now = _provider_time(headers)
    for what in ("requests-day", "tokens-day"):
        if headers.get(f"x-ratelimit-remaining-{what}") == "0":
            return _parse_wait(headers.get(f"x-ratelimit-reset-{what}", ""), now)
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        found = _parse_number(headers.get(name, ""))
        if found is not None:
            return found / 1000
    found = _parse_wait(headers.get("retry-after", ""), now)
    if found is None and message:
        found = _wait_in_message(message, prompt, now)
    if found is None and headers.get("x-ratelimit-remaining", "0") == "0":
        found = _parse_wait(headers.get("x-ratelimit-reset", ""), now)
    return found


def _long_wait_reason(seconds: float | None, message: str, prompt: str) -> str | None:
    """Until when it is of no use to ask again, in words; None when it is before long."""
    if seconds is not None and seconds > MAX_OUTAGE:
        return f"its limit lasts until {_format_time(time.time() + seconds)}"
    named = _DAILY_LIMIT.search(message)
    if named is None and (seconds or _MAX_WAIT) > _SHORT_WAIT and not _MINUTE_LIMIT.search(message):
        named = _MAYBE_DAILY_LIMIT.search(message)
    if named is None or named.group() in prompt:
        return None
    return "its limit of a day is used up, and it does not say until when"


def _format_time(timestamp: float) -> str:
    """The moment for people, in UTC and as their own clock shows it."""
    at = datetime.fromtimestamp(timestamp, UTC)
    here = at.astimezone()
    told = f"{at:%Y-%m-%d %H:%M} UTC"
    return told if not here.utcoffset() else f"{told}, {here:%Y-%m-%d %H:%M} here"


def _wait_in_message(message: str, prompt: str, now: float) -> float | None:
    """The first wait that the words ask for."""
    for found in _WAIT_PHRASE.finditer(message):
        if found.group() not in prompt:
            return _limit_wait(_duration_seconds(found["span"]))
    if (field := _RETRY_AFTER_FIELD.search(message)) and field.group() not in prompt:
        return _limit_wait(float(field["number"]) / (1000 if field["ms"] else 1))
    if (reset := _RESET_FIELD.search(message)) and reset.group() not in prompt:
        return _parse_wait(reset["moment"], now)
    return None


def _parse_wait(words: str, now: float) -> float | None:
    """The seconds of a header: a number, a length of time, a date, or a moment since 1970."""
    words = words.strip().lower()
    if words and _WHOLE_DURATION.fullmatch(words):
        return _limit_wait(_duration_seconds(words))
    number = _parse_number(words)
    if number is None:
        return _seconds_until(words, now)
    if number > _MIN_TIMESTAMP:
        number = max(0.0, number / (1000 if number > _MIN_TIMESTAMP_MS else 1) - now)
    return _limit_wait(number)


def _parse_number(words: str) -> float | None:
    try:
        number = float(words)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 and words.isascii() else None


def _duration_seconds(words: str) -> float:
    """The seconds of ``1h2m3.5s``, ``120ms``, ``6 minutes and 2 seconds``."""
    return sum(
        float(number) * (0.001 if unit.startswith(_MILLI) else _SECONDS[unit[0]])
        for number, unit in _DURATION_PARTS.findall(words)
    )


def _seconds_until(words: str, now: float) -> float | None:
    try:
        return _limit_wait(max(0.0, parsedate_to_datetime(words).timestamp() - now))
    except (ValueError, OverflowError):
        return None


def _limit_wait(seconds: float) -> float | None:
    return seconds if seconds <= _MAX_WAIT else None


def _provider_time(headers: Mapping[str, str]) -> float:
    """The moment by the provider's own clock, since this machine's may be wrong."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return time.time()
