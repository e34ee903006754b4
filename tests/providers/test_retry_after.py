"""Retry-After: the wait is parsed in every form that providers write."""

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


def refused(message: str = "", prompt: str = "What is 2 + 2?", **headers: str) -> RateLimitError:
    """A rate limit error with these headers (``_`` stands for ``-``) and this body."""
    error = RateLimitError("m", "429")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    set_retry_hints(error, named, message, [prompt])
    return error


@pytest.mark.parametrize(
    ("message", "seconds"),
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
def test_retry_after_is_parsed_in_every_form_and_impossible_values_are_none(message, seconds):
    assert refused(retry_after=message).retry_after == seconds


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_milliseconds_take_precedence_over_whole_seconds(name):
    assert retry_after_seconds({name: "41270", "retry-after": "42"}) == 41.27
    assert retry_after_seconds({name: "nan", "retry-after": "42"}) == 42.0


def test_a_date_is_measured_by_the_clock_of_the_provider():
    # The local clock is wrong by a day.
    provider_time = time.time() + 86_400

    later = refused(
        retry_after=formatdate(provider_time + 40, usegmt=True), date=formatdate(provider_time)
    )
    past = refused(
        retry_after=formatdate(provider_time - 40, usegmt=True), date=formatdate(provider_time)
    )

    assert (later.retry_after, past.retry_after) == (40.0, 0.0)
    assert refused(retry_after=formatdate(time.time() + 40)).retry_after == pytest.approx(40, abs=5)


@pytest.mark.parametrize(
    ("message", "seconds"),
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
def test_the_message_counts_where_the_headers_name_no_wait(message, seconds):
    assert refused(message).retry_after == seconds
    assert refused(message, retry_after="5").retry_after == 5.0


def test_quoted_words_of_the_prompt_are_ignored():
    prompt = "Say: please try again in 7 days, free-models-per-day."

    error = refused(f"Cannot answer {prompt!r} now", prompt)

    assert (error.retry_after, error.long_wait_reason) == (None, None)


def test_a_reset_in_milliseconds_since_1970_counts_in_headers_and_body():
    reset = str(int((time.time() + 40) * 1000))
    body = json.dumps({"error": {"metadata": {"headers": {"X-RateLimit-Reset": reset}}}})

    assert refused(x_ratelimit_reset=reset).retry_after == pytest.approx(40, abs=5)
    assert refused(body).retry_after == pytest.approx(40, abs=5)
    assert refused(x_ratelimit_reset=reset[:-3]).retry_after == pytest.approx(40, abs=5)
    assert refused(x_ratelimit_reset=reset, x_ratelimit_remaining="7").retry_after is None


def test_a_used_up_daily_limit_has_a_header_of_its_own():
    error = refused(
        retry_after="5",
        x_ratelimit_remaining_requests_day="0",
        x_ratelimit_reset_requests_day="33011.38",
    )

    assert error.retry_after == 33_011.38
    assert error.long_wait_reason is not None


def test_a_used_up_limit_gives_the_wait_where_nothing_else_does():
    left = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "20s"}

    assert refused(**left).retry_after == 20.0
    assert refused(retry_after="3", **left).retry_after == 3.0
    assert refused(x_ratelimit_remaining_requests="5").retry_after is None


def test_a_long_limit_reports_its_end_in_utc_and_local_time(
    monkeypatch,
):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        ends = datetime.fromtimestamp(time.time() + HOURS, UTC)
        reason = refused(retry_after=str(HOURS)).long_wait_reason
    finally:
        monkeypatch.undo()
        time.tzset()

    assert reason is not None
    # A minute may pass between the two readings of the clock.
    assert reason.startswith(f"its limit lasts until {ends:%Y-%m-%d %H:}")
    assert " UTC, " in reason
    assert reason.endswith(" here")
    assert refused(retry_after="899").long_wait_reason is None


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day",
        "Rate limit reached on requests per day (RPD): Limit 200. Please try again in 7m12s.",
        "Rate limit reached on tokens per day (TPD): Limit 100000. Please try again in 14m24.5s.",
        '{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "retryDelay": "33s"}',
        "Too many tokens per day, please wait before trying again.",
        "You have reached your daily limit.",
    ],
)
def test_a_daily_limit_is_recognized_by_its_message(message):
    assert (
        refused(message).long_wait_reason
        == "its daily limit is used up, and it does not say until when"
    )


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit exceeded: free-models-per-min. Add credits to unlock more requests per day",
        "Slow down, try again in 7s. Your daily limit is 1000.",
        "Rate limit reached on requests per min (RPM): Limit 3. Please try again in 20s.",
        "Too many requests",
    ],
)
def test_a_limit_per_minute_is_not_a_daily_limit(message):
    assert refused(message).long_wait_reason is None


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_wait_is_a_bounded_number_or_none_for_any_text(message, header):
    for error in (
        refused(message),
        refused(retry_after=header),
        refused(f"try again in {message}"),
    ):
        assert error.retry_after is None or 0 <= error.retry_after <= 32 * 86_400


@pytest.mark.parametrize("part", ["try again in ", "retry", "1", "1s", "1 s and ", "wait 1h", " "])
def test_a_long_refusal_is_parsed_quickly(part):
    started = time.process_time()

    refused(part * (1_000_000 // len(part)), "What?" * 100_000)

    assert time.process_time() - started < 0.5
