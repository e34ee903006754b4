"""How long a provider asks to wait: by its headers, else by the message of its refusal.

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

from archon_batch.errors import TransientError
from archon_batch.providers.durations import (
    DURATION,
    NUMBER,
    http_date,
    parse_duration,
    parse_number,
    seconds_until,
)
from archon_batch.providers.response_headers import remaining_limits
from archon_batch.retry_policy import MAX_OUTAGE

#: Characters of a refusal that are searched for a wait.
_MAX_MESSAGE = 1 << 14
#: Seconds beyond which no wait is credible: more than the month of a monthly quota.
_MAX_WAIT = 32 * 86_400.0
#: Seconds: beside a wait this short, the word "daily" does not mean that a daily limit is reached.
_SHORT_WAIT = 120.0

_WAIT_PHRASE = re.compile(rf"(?:try again|retry|wait|reset)[^\d.]{{0,32}}(?P<duration>{DURATION})")
_RETRY_AFTER_FIELD = re.compile(
    rf"retry[-_]?after(?P<ms>[-_]?ms)?[\"']?\s?[:=]\s?[\"']?(?P<number>{NUMBER})\b"
)
_RESET_FIELD = re.compile(rf"x-ratelimit-reset[\"']?\s?[:=]\s?[\"']?(?P<time>{NUMBER})")

#: A daily limit by its name, and by words that may also stand beside a limit per minute.
_DAILY_LIMIT = re.compile(r"free-models-per-day|perday|\b[rt]pd\b")
_MAYBE_DAILY_LIMIT = re.compile(r"\bper[ -]day\b|\bdaily\b")
_MINUTE_LIMIT = re.compile(r"\bper[ -]?min")


def set_retry_hints(
    error: TransientError,
    headers: Mapping[str, str],
    message: str = "",
    prompts: Iterable[str] = (),
) -> None:
    """Set the error's remaining limits, its wait, and the reason for a long wait.

    Args:
        error: how a call failed.
        headers: of the response, with names in lower case.
        message: the body of the response.
        prompts: the prompt; message text that quotes it is ignored.
    """
    message = message[:_MAX_MESSAGE].lower()
    prompt = " ".join(prompts).lower() if message else ""
    error.remaining_limits = remaining_limits(headers)
    error.retry_after = retry_after_seconds(headers, message, prompt)
    if error.retry_after is None and error.remaining_limits is not None:
        error.retry_after = error.remaining_limits.cooldown or None
    error.long_wait_reason = _long_wait_reason(error.retry_after, message, prompt)


def retry_after_seconds(
    headers: Mapping[str, str], message: str = "", prompt: str = ""
) -> float | None:
    """The seconds to wait that the provider asks for, at least 0; None where it asks for none.

    Args:
        headers: of the response, with names in lower case.
        message: the body in lower case.
        prompt: the prompt in lower case.
    """
    now = _provider_time(headers)
    for limit in ("requests-day", "tokens-day"):
        if headers.get(f"x-ratelimit-remaining-{limit}") == "0":
            return _parse_wait(headers.get(f"x-ratelimit-reset-{limit}", ""), now)
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = parse_number(headers.get(name, ""))
        if milliseconds is not None and (seconds := _credible(milliseconds / 1000)) is not None:
            return seconds
    seconds = _parse_wait(headers.get("retry-after", ""), now)
    if seconds is None and message:
        seconds = _wait_in_message(message, prompt, now)
    if seconds is None and headers.get("x-ratelimit-remaining", "0") == "0":
        seconds = _parse_wait(headers.get("x-ratelimit-reset", ""), now)
    return seconds


def _long_wait_reason(seconds: float | None, message: str, prompt: str) -> str | None:
    """Why and until when a retry is useless, for people; None for a short wait."""
    if seconds is not None and seconds > MAX_OUTAGE:
        return f"its limit lasts until {_format_time(time.time() + seconds)}"
    match = _DAILY_LIMIT.search(message)
    if match is None and (seconds or _MAX_WAIT) > _SHORT_WAIT and not _MINUTE_LIMIT.search(message):
        match = _MAYBE_DAILY_LIMIT.search(message)
    if match is None or match.group() in prompt:
        return None
    return "its daily limit is used up, and it does not say until when"


def _format_time(timestamp: float) -> str:
    """The time in UTC and, where it differs, in the local time zone."""
    utc = datetime.fromtimestamp(timestamp, UTC)
    local = utc.astimezone()
    text = f"{utc:%Y-%m-%d %H:%M} UTC"
    return text if not local.utcoffset() else f"{text}, {local:%Y-%m-%d %H:%M} here"


def _wait_in_message(message: str, prompt: str, now: float) -> float | None:
    """The first wait that the message asks for."""
    for match in _WAIT_PHRASE.finditer(message):
        if match.group() not in prompt:
            return _credible(parse_duration(match["duration"]))
    if (field := _RETRY_AFTER_FIELD.search(message)) and field.group() not in prompt:
        return _credible(float(field["number"]) / (1000 if field["ms"] else 1))
    if (reset := _RESET_FIELD.search(message)) and reset.group() not in prompt:
        return _parse_wait(reset["time"], now)
    return None


def _parse_wait(value: str, now: float) -> float | None:
    return _credible(seconds_until(value, now))


def _credible(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= _MAX_WAIT else None


def _provider_time(headers: Mapping[str, str]) -> float:
    """The time by the provider's clock where it is sent, since the local clock may be wrong."""
    date = http_date(headers.get("date", ""))
    return time.time() if date is None else date
