"""Response headers: each provider reports its rate limits in its own form."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.providers.response_headers import remaining_limits
from archon_batch.rate_limits import RemainingLimits


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("7", 7.0),
        ("", None),
        ("0.25", 0.25),
        ("soon", None),
        ("-3", 0.0),
        ("nan", None),
        ("inf", 1_000_000.0),
    ],
)
def test_a_reset_is_parsed_in_every_form(value, seconds):
    remaining = remaining_limits(
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": value}
    )

    assert remaining == RemainingLimits(requests=0, requests_reset=seconds)


def test_a_reset_may_be_a_date_or_a_timestamp():
    soon = datetime.now(UTC) + timedelta(seconds=40)

    remaining = remaining_limits({
        "anthropic-ratelimit-tokens-remaining": "12",
        "anthropic-ratelimit-tokens-reset": soon.isoformat().replace("+00:00", "Z"),
        "x-ratelimit-reset-requests": str(soon.timestamp()),
    })  # fmt: skip

    assert remaining is not None
    assert remaining.tokens == 12
    assert remaining.tokens_reset == pytest.approx(40, abs=5)
    assert remaining.requests_reset == pytest.approx(40, abs=5)


def test_headers_without_limits_give_none():
    assert remaining_limits({"content-type": "application/json"}) is None


@given(st.dictionaries(st.sampled_from(["remaining", "reset"]), st.text(max_size=20)))
def test_no_header_value_raises(parts):
    remaining_limits({f"x-ratelimit-{part}-tokens": value for part, value in parts.items()})
