"""Waits: however a provider says for how long it is to be left alone, it is heard."""

import json
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.errors import RateLimitError
from archon_batch.providers.retry_after import retry_after_seconds, set_retry_hints

HOURS = 6 * 3600


def told(words: str = "", prompt: str = "What is 2 + 2?", **headers: str) -> RateLimitError:
    """A refusal with these headers, whose names have hyphens, and this body."""
    error = RateLimitError("m", "429")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    set_retry_hints(error, named, words, [prompt])
    return error


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("41", 41.0),
        ("41.27", 41.27),
        ("0", 0.0),
        ("45s", 45.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("2 minutes", 120.0),
        ("-1", None),
        ("-0.5", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("9" * 400, None),
        ("99999999999999", None),
        ("\u0665", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_retry_after_is_read_in_all_its_forms_and_what_is_impossible_is_none(words, seconds):
    assert told(retry_after=words).retry_after == seconds


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_milliseconds_are_read_and_go_before_whole_seconds(name):
    assert retry_after_seconds({name: "41270", "retry-after": "42"}) == 41.27
    assert retry_after_seconds({name: "nan", "retry-after": "42"}) == 42.0


def test_a_date_is_measured_by_the_providers_own_clock():
    # This machine's is wrong by a day.
    there = time.time() + 86_400

    later = told(retry_after=formatdate(there + 40, usegmt=True), date=formatdate(there))
    past = told(retry_after=formatdate(there - 40, usegmt=True), date=formatdate(there))

    assert (later.retry_after, past.retry_after) == (40.0, 0.0)
    assert told(retry_after=formatdate(time.time() + 40)).retry_after == pytest.approx(40, abs=5)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached for gpt-4o. Please try again in 7.66s. Visit ...", 7.66),
        ("Limit 30000, Used 29000, Requested 1500. Please try again in 6m0s.", 360.0),
        ("Please try again in 120ms.", 0.12),
        ("Please retry after 33 seconds. To increase your limit ...", 33.0),
        ("Please retry in 33.413s.", 33.413),
        ("Your quota will reset after 16h34m12s.", 59_652.0),
        ("Please wait 2 minutes and 5 seconds before the next request.", 125.0),
        ('{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "33s"}]}}', 33.0),
        ('{"error": "slow down", "retry_after": 12.5}', 12.5),
        ('{"error": "slow down", "retry_after_ms": 1500}', 1.5),
        ("Limit: 10 requests per 60s. Try later.", None),
        ("Please retry up to 3 times", None),
        ("Try again later.", None),
    ],
)
def test_the_words_are_read_where_the_headers_say_nothing(words, seconds):
    assert told(words).retry_after == seconds
    assert told(words, retry_after="5").retry_after == 5.0


def test_the_words_of_a_prompt_that_is_quoted_have_no_say():
    prompt = "Say: please try again in 7 days, free-models-per-day."

    error = told(f"Cannot answer {prompt!r} now", prompt)

    assert (error.retry_after, error.long_wait_reason) == (None, None)


def test_a_reset_in_milliseconds_since_1970_is_read_in_headers_and_in_the_body():
    reset = str(int((time.time() + 40) * 1000))
    body = json.dumps({"error": {"metadata": {"headers": {"X-RateLimit-Reset": reset}}}})

    assert told(x_ratelimit_reset=reset).retry_after == pytest.approx(40, abs=5)
    assert told(body).retry_after == pytest.approx(40, abs=5)
    assert told(x_ratelimit_reset=reset[:-3]).retry_after == pytest.approx(40, abs=5)
    assert told(x_ratelimit_reset=reset, x_ratelimit_remaining="7").retry_after is None


def test_a_day_that_is_used_up_is_told_of_by_its_own_header():
    error = told(
        retry_after="5",
        x_ratelimit_remaining_requests_day="0",
        x_ratelimit_reset_requests_day="33011.38",
    )

    assert error.retry_after == 33_011.38
    assert error.long_wait_reason is not None


def test_what_is_left_of_a_limit_tells_the_wait_where_nothing_else_does():
    left = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "20s"}

    assert told(**left).retry_after == 20.0
    assert told(retry_after="3", **left).retry_after == 3.0
    assert told(x_ratelimit_remaining_requests="5").retry_after is None


def test_a_limit_that_lasts_for_hours_tells_its_end_in_utc_and_as_the_clock_here_shows_it(
    monkeypatch,
):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        ends = datetime.fromtimestamp(time.time() + HOURS, UTC)
        lasting = told(retry_after=str(HOURS)).long_wait_reason
    finally:
        monkeypatch.undo()
        time.tzset()

    assert lasting is not None
    # A minute may pass between the two looks at the clock.
    assert lasting.startswith(f"its limit lasts until {ends:%Y-%m-%d %H:}")
    assert " UTC, " in lasting
    assert lasting.endswith(" here")
    assert told(retry_after="899").long_wait_reason is None


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day",
        "Rate limit reached on requests per day (RPD): Limit 200. Please try again in 7m12s.",
        "Rate limit reached on tokens per day (TPD): Limit 100000. Please try again in 14m24.5s.",
        '{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "retryDelay": "33s"}',
        "Too many tokens per day, please wait before trying again.",
        "You have reached your daily limit.",
    ],
)
def test_a_limit_of_a_day_is_known_by_its_words(words):
    assert (
        told(words).long_wait_reason
        == "its limit of a day is used up, and it does not say until when"
    )


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit exceeded: free-models-per-min. Add credits to unlock more requests per day",
        "Slow down, try again in 7s. Your daily limit is 1000.",
        "Rate limit reached on requests per min (RPM): Limit 3. Please try again in 20s.",
        "Too many requests",
    ],
)
def test_a_limit_of_a_minute_is_not_taken_for_one_of_a_day(words):
    assert told(words).long_wait_reason is None


@given(st.text(max_size=60), st.text(max_size=20))
def test_whatever_a_provider_writes_a_wait_is_a_bounded_number_or_none(words, header):
    for error in (told(words), told(retry_after=header), told(f"try again in {words}")):
        assert error.retry_after is None or 0 <= error.retry_after <= 32 * 86_400


@pytest.mark.parametrize("part", ["try again in ", "retry", "1", "1s", "1 s and ", "wait 1h", " "])
def test_a_long_refusal_is_read_in_no_time(part):
    started = time.process_time()

    told(part * (1_000_000 // len(part)), "What?" * 100_000)

    assert time.process_time() - started < 0.5
