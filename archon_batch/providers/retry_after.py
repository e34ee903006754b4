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
from archon_batch.money import LONGEST_OUTAGE
from archon_batch.providers.response_headers import headroom

#: Characters of a refusal in which it is looked for a wait.
_LOOKED_AT = 1 << 14
#: Seconds beyond which nothing is a wait: a month of a quota's has fewer.
_MOST = 32 * 86_400.0
#: Numbers from which on they are a moment: in seconds since 1970, and in milliseconds.
_MOMENT, _MOMENT_MS = 1e8, 1e11
#: Seconds of a wait up to which the word "daily" beside it does not mean that a day is used up.
_SHORT = 120.0

_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
_PARTS = re.compile(rf"({_NUMBER})\s{{0,2}}({_UNIT})")
_SPAN = rf"(?:{_NUMBER}\s{{0,2}}{_UNIT}(?:,?\s{{0,2}}(?:and\s)?))+"
_WHOLE = re.compile(_SPAN)
#: By the first letter of a unit; a thousandth of a second has that of a minute.
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MILLI = ("ms", "mil")
_ASKED = re.compile(rf"(?:try again|retry|wait|reset)[^\d.]{{0,32}}(?P<span>{_SPAN})")
_FIELD = re.compile(
    rf"retry[-_]?after(?P<ms>[-_]?ms)?[\"']?\s?[:=]\s?[\"']?(?P<number>{_NUMBER})\b"
)
_RESET = re.compile(rf"x-ratelimit-reset[\"']?\s?[:=]\s?[\"']?(?P<moment>{_NUMBER})")

#: A limit by the day, by its name; and by words that may be said beside a limit by the minute.
_DAY = re.compile(r"free-models-per-day|perday|\b[rt]pd\b")
_MAYBE_DAY = re.compile(r"\bper[ -]day\b|\bdaily\b")
_MINUTE = re.compile(r"\bper[ -]?min")


def tell(
    error: TransientError, headers: Mapping[str, str], words: str = "", prompts: Iterable[str] = ()
) -> None:
    """Put onto the error what the provider says of its limits, and of how long they last.

    Args:
        error: how a call ended.
        headers: of the answer, looked up in lower case.
        words: its body.
        prompts: what was asked; words that quote it have no say.
    """
    said = words[:_LOOKED_AT].lower()
    asked = " ".join(prompts).lower() if said else ""
    error.headroom = headroom(headers)
    error.retry_after = patience(headers, said, asked)
    if error.retry_after is None and error.headroom is not None:
        error.retry_after = error.headroom.rest or None
    error.lasting = _lasting(error.retry_after, said, asked)


def patience(headers: Mapping[str, str], said: str = "", asked: str = "") -> float | None:
    """The seconds that the provider asks for, at least 0; None when it asks for none.

    Args:
        headers: of the answer, looked up in lower case.
        said: the body in lower case.
        asked: the prompt in lower case.
    """
    now = _now(headers)
    for what in ("requests-day", "tokens-day"):
        if headers.get(f"x-ratelimit-remaining-{what}") == "0":
            return _wait(headers.get(f"x-ratelimit-reset-{what}", ""), now)
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        found = _number(headers.get(name, ""))
        if found is not None:
            return found / 1000
    found = _wait(headers.get("retry-after", ""), now)
    if found is None and said:
        found = _of_words(said, asked, now)
    if found is None and headers.get("x-ratelimit-remaining", "0") == "0":
        found = _wait(headers.get("x-ratelimit-reset", ""), now)
    return found


def _lasting(seconds: float | None, said: str, asked: str) -> str | None:
    """Until when it is of no use to ask again, in words; None when it is before long."""
    if seconds is not None and seconds > LONGEST_OUTAGE:
        return f"its limit lasts until {_hour(time.time() + seconds)}"
    named = _DAY.search(said)
    if named is None and (seconds or _MOST) > _SHORT and not _MINUTE.search(said):
        named = _MAYBE_DAY.search(said)
    if named is None or named.group() in asked:
        return None
    return "its limit of a day is used up, and it does not say until when"


def _hour(moment: float) -> str:
    """The moment for people, in UTC and as their own clock shows it."""
    at = datetime.fromtimestamp(moment, UTC)
    here = at.astimezone()
    told = f"{at:%Y-%m-%d %H:%M} UTC"
    return told if not here.utcoffset() else f"{told}, {here:%Y-%m-%d %H:%M} here"


def _of_words(said: str, asked: str, now: float) -> float | None:
    """The first wait that the words ask for."""
    for found in _ASKED.finditer(said):
        if found.group() not in asked:
            return _bounded(_span(found["span"]))
    if (field := _FIELD.search(said)) and field.group() not in asked:
        return _bounded(float(field["number"]) / (1000 if field["ms"] else 1))
    if (reset := _RESET.search(said)) and reset.group() not in asked:
        return _wait(reset["moment"], now)
    return None


def _wait(words: str, now: float) -> float | None:
    """The seconds of a header: a number, a length of time, a date, or a moment since 1970."""
    words = words.strip().lower()
    if words and _WHOLE.fullmatch(words):
        return _bounded(_span(words))
    number = _number(words)
    if number is None:
        return _until(words, now)
    if number > _MOMENT:
        number = max(0.0, number / (1000 if number > _MOMENT_MS else 1) - now)
    return _bounded(number)


def _number(words: str) -> float | None:
    try:
        number = float(words)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 and words.isascii() else None


def _span(words: str) -> float:
    """The seconds of ``1h2m3.5s``, ``120ms``, ``6 minutes and 2 seconds``."""
    return sum(
        float(number) * (0.001 if unit.startswith(_MILLI) else _SECONDS[unit[0]])
        for number, unit in _PARTS.findall(words)
    )


def _until(words: str, now: float) -> float | None:
    try:
        return _bounded(max(0.0, parsedate_to_datetime(words).timestamp() - now))
    except (ValueError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    return seconds if seconds <= _MOST else None


def _now(headers: Mapping[str, str]) -> float:
    """The moment by the provider's own clock, since this machine's may be wrong."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return time.time()
