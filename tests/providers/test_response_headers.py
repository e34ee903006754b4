"""Headers: what providers say of their limits, each in its own way."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.providers.response_headers import remaining_limits
from archon_batch.rate_limits import RemainingLimits


@pytest.mark.parametrize(
    ("words", "seconds"),
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
def test_a_reset_is_read_as_it_is_written(words, seconds):
    found = remaining_limits(
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": words}
    )

    assert found == RemainingLimits(requests=0, requests_reset=seconds)


def test_a_reset_may_be_a_moment():
    soon = datetime.now(UTC) + timedelta(seconds=40)

    found = remaining_limits({
        "anthropic-ratelimit-tokens-remaining": "12",
        "anthropic-ratelimit-tokens-reset": soon.isoformat().replace("+00:00", "Z"),
        "x-ratelimit-reset-requests": str(soon.timestamp()),
    })  # fmt: skip

    assert found is not None
    assert found.tokens == 12
    assert found.tokens_reset == pytest.approx(40, abs=5)
    assert found.requests_reset == pytest.approx(40, abs=5)


def test_who_says_nothing_is_not_heard():
    assert remaining_limits({"content-type": "application/json"}) is None


@given(st.dictionaries(st.sampled_from(["remaining", "reset"]), st.text(max_size=20)))
def test_whatever_a_provider_writes_it_is_read_or_not(said):
    remaining_limits({f"x-ratelimit-{part}-tokens": words for part, words in said.items()})
