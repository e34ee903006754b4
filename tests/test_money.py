"""The ledger's rules: what an attempt costs, what is kept back for it, and whether to try again."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import ListPrice, Message, Usage
from archon_batch.errors import (
    BadCallError,
    BrokenReplyError,
    CallTimeoutError,
    CredentialsError,
    PermanentError,
    PromptTooLongError,
    ProviderDownError,
    ProviderFailedError,
    QuotaError,
    RateLimitError,
    RefusedError,
    TransientError,
    UnknownModelError,
)
from archon_batch.money import Overbilling, Price, to_nano, to_usd
from archon_batch.retry_policy import (
    MAX_ATTEMPTS,
    MAX_BACKOFF,
    MAX_IN_DOUBT,
    MAX_OUTAGE,
    MAX_RATE_LIMIT_BACKOFF,
    MAX_RATE_LIMITED,
    MAX_RETRY_AFTER,
    AttemptHistory,
    GiveUp,
    Retry,
    StopJob,
    decide,
)
from tests.builders import a_call

TOKENS = st.integers(0, 10_000_000)
NANOS = st.integers(0, 10**15)
PRICES = st.builds(Price, NANOS, NANOS, st.none() | NANOS)
#: What UTF-8 has no room for is a text all the same.
TEXTS = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("dollars", "nanos"),
    [
        ("0", 0),
        ("1", 1_000_000_000),
        ("0.15", 150_000_000),
        ("0.000000001", 1),
        ("0.0000000001", 1),
        ("0.0000000011", 2),
        ("1000000", 10**15),
    ],
)
def test_dollars_become_nano_dollars_rounded_up(dollars, nanos):
    assert to_nano(Decimal(dollars)) == nanos


@given(money=st.integers(0, 2**63 - 1))
def test_nano_dollars_become_dollars_and_back_without_loss(money):
    dollars = to_usd(money)

    assert dollars is not None
    assert to_nano(dollars) == money


def test_an_unknown_amount_stays_unknown():
    assert to_usd(None) is None


def test_a_list_price_is_a_whole_number():
    listed = ListPrice(input=Decimal("0.15"), output=Decimal("0.6"))

    assert Price.from_list_price(listed) == Price(150_000_000, 600_000_000)
    cheaper = listed.model_copy(update={"cached_input": Decimal("0.075")})
    assert Price.from_list_price(cheaper) == Price(150_000_000, 600_000_000, 75_000_000)


@pytest.mark.parametrize(
    ("price", "prompt", "completion", "cost"),
    [
        (Price(150_000_000, 600_000_000), 1_000_000, 0, 150_000_000),
        (Price(150_000_000, 600_000_000), 10, 5, 4_500),
        (Price(1, 0), 1, 0, 1),
        (Price(1, 1), 500_000, 500_000, 1),
        (Price(1, 1), 500_000, 500_001, 2),
        (Price(0, 0), 10, 10, 0),
        (Price(7, 7), 0, 0, 0),
    ],
)
def test_a_cost_is_a_whole_nano_dollar_rounded_up(price, prompt, completion, cost):
    assert price.cost(Usage(prompt, completion)) == cost


@pytest.mark.parametrize(
    ("price", "cached", "cost"),
    [
        (Price(1_000_000, 0), 4, 10),
        (Price(1_000_000, 0, 250_000), 4, 7),
        (Price(1_000_000, 0, 250_000), None, 10),
        (Price(1_000_000, 0, 0), 10, 0),
        # More than there was to read is a slip of the provider's.
        (Price(1_000_000, 0, 250_000), 99, 3),
    ],
)
def test_cached_tokens_have_their_own_price(price, cached, cost):
    assert price.cost(Usage(10, 1, cached)) == cost


@pytest.mark.parametrize("usage", [Usage(), Usage(prompt_tokens=3), Usage(completion_tokens=3)])
def test_unknown_tokens_have_no_cost(usage):
    assert Price(1, 1).cost(usage) is None


@given(price=PRICES, prompt=TOKENS, completion=TOKENS)
def test_a_cost_is_the_exact_cost_rounded_up(price, prompt, completion):
    cost = price.cost(Usage(prompt, completion))

    exact = prompt * price.input + completion * price.output
    assert cost is not None
    assert exact <= cost * 1_000_000 < exact + 1_000_000


@given(
    price=PRICES,
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    max_tokens=st.integers(1, 1_000_000),
    data=st.data(),
)
def test_a_cost_within_the_bounds_never_exceeds_the_hold(price, texts, max_tokens, data):
    messages = tuple(Message("user", text) for text in texts)
    call = replace(a_call(max_tokens=max_tokens), messages=messages)
    longest = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    usage = Usage(data.draw(st.integers(0, longest)), data.draw(st.integers(0, max_tokens)))

    cost = price.cost(usage)

    assert cost is not None
    assert cost <= price.max_cost(call)


def test_the_hold_counts_every_byte_and_what_a_provider_adds():
    call = replace(a_call(max_tokens=100), messages=(Message("system", "é"), Message("user", "a")))

    kept = Price(1_000_000, 1_000_000).max_cost(call)

    assert kept == 16 + (16 + 2) + (16 + 1) + 100


@given(prompt=st.integers(0, 9_000), completion=st.integers(0, 9_000), more=st.integers(1, 99))
def test_the_hold_covers_overbilling_that_was_seen(prompt, completion, more):
    call, price = a_call(max_tokens=more), Price(3, 5)
    beyond = Overbilling().with_reply(call, Usage(prompt, completion))

    cost = price.cost(Usage(prompt, completion))

    assert cost is not None
    assert cost <= price.max_cost(call, beyond)
    assert price.max_cost(call, beyond) >= price.max_cost(call)
    assert beyond.merged_with(Overbilling()) == beyond == Overbilling().merged_with(beyond)
    assert beyond.with_reply(call, Usage(prompt, completion)) == beyond
    # What is within its bounds teaches nothing.
    assert Overbilling().with_reply(call, Usage(10, more)) == Overbilling()


@pytest.mark.parametrize("error", [CredentialsError, UnknownModelError, QuotaError])
@pytest.mark.parametrize("tried", [1, MAX_ATTEMPTS])
def test_an_error_that_every_call_would_get_stops_the_job(error, tried):
    assert decide(error("m", "no"), AttemptHistory(tried), 0.5) == StopJob("m: no")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermanentError, "permanent: no"),
        (PromptTooLongError, "prompt_too_long: no"),
        (RefusedError, "refused: no"),
        (BadCallError, "bad_call: no"),
    ],
)
@pytest.mark.parametrize("tried", [1, MAX_ATTEMPTS])
def test_a_permanent_error_fails_at_once(error, why, tried):
    assert decide(error("m", "no"), AttemptHistory(tried), 0.5) == GiveUp(why)


@pytest.mark.parametrize(
    ("error", "tried", "in_doubt", "verdict"),
    [
        (TransientError, 1, 0, Retry(1.0)),
        (RateLimitError, 1, 0, Retry(1.0)),
        (ProviderDownError, 2, 0, Retry(2.0)),
        (ProviderDownError, 5, 0, Retry(16.0)),
        (ProviderDownError, 5, 1, Retry(16.0)),
        (CallTimeoutError, 1, 1, Retry(1.0)),
        (BrokenReplyError, 3, 1, Retry(4.0)),
        (ProviderDownError, 6, 0, GiveUp("provider_down after 6 attempts: no")),
        (ProviderDownError, 7, 0, GiveUp("provider_down after 7 attempts: no")),
        (CallTimeoutError, 2, 2, GiveUp("call_timeout, 2 attempts in doubt: no")),
        (BrokenReplyError, 5, 3, GiveUp("broken_reply, 3 attempts in doubt: no")),
        (CallTimeoutError, 6, 2, GiveUp("call_timeout after 6 attempts: no")),
        (ProviderDownError, 3, 2, GiveUp("provider_down, 2 attempts in doubt: no")),
        (ProviderFailedError, 1, 1, Retry(1.0)),
        (ProviderFailedError, 2, 2, GiveUp("provider_failed, 2 attempts in doubt: no")),
    ],
)
def test_a_transient_error_is_retried_up_to_the_maximum(error, tried, in_doubt, verdict):
    assert decide(error("m", "no"), AttemptHistory(tried, in_doubt), 1.0) == verdict


def test_thresholds_and_bounds():
    assert (MAX_ATTEMPTS, MAX_IN_DOUBT, MAX_RATE_LIMITED) == (6, 2, 100)


@pytest.mark.parametrize("refused", [6, 7, 99])
def test_a_rate_limit_uses_up_no_attempt_while_the_model_answers(refused):
    error = RateLimitError("m", "no")

    assert decide(error, AttemptHistory(refused, rate_limited=refused), 1.0) == Retry(
        MAX_RATE_LIMIT_BACKOFF
    )
    # Nor does it when something else comes in between.
    others = AttemptHistory(refused + 5, rate_limited=refused)
    assert isinstance(decide(error, others, 1.0), Retry)
    assert isinstance(decide(ProviderDownError("m", "no"), others, 1.0), Retry)
    last = replace(others, attempts=others.attempts + 1)
    assert decide(ProviderDownError("m", "no"), last, 1.0) == GiveUp(
        f"provider_down after {last.attempts} attempts: no"
    )


def test_a_call_that_is_always_rate_limited_fails():
    verdict = decide(RateLimitError("m", "no"), AttemptHistory(100, rate_limited=100), 1.0)

    assert verdict == GiveUp("rate_limit after 100 attempts: no")


@pytest.mark.parametrize("error", [RateLimitError, ProviderDownError])
def test_a_lasting_limit_stops_the_job_when_the_model_answers_no_call(error):
    refusal = error("m", "429: no", 21_600.0)
    refusal.long_wait_reason = "its limit lasts until noon"

    assert decide(refusal, AttemptHistory(5, rate_limited=5), 1.0, 0.0) == StopJob(
        "m: 429: no; its limit lasts until noon"
    )
    # While other calls succeed, the limit may be another key's; and waiting would take hours.
    assert decide(refusal, AttemptHistory(1, rate_limited=1), 1.0) == Retry(1.0)


@given(tried=st.integers(1, MAX_ATTEMPTS - 1), jitter=st.floats(0, 1))
def test_a_wait_doubles_and_is_spread_over_its_upper_half(tried, jitter):
    verdict = decide(ProviderDownError("m", "no"), AttemptHistory(tried), jitter)

    assert isinstance(verdict, Retry)
    assert 2 ** (tried - 1) / 2 <= verdict.seconds <= 2 ** (tried - 1)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, 1.0), (0.0, 1.0), (-5.0, 1.0), (0.2, 1.0), (7.5, 7.5), (600.0, 600.0), (1e9, 600.0)],
)
def test_the_retry_after_of_a_provider_is_obeyed_and_capped(asked, seconds):
    assert decide(
        RateLimitError("m", "no", asked), AttemptHistory(1, rate_limited=1), 1.0
    ) == Retry(seconds)


@given(
    asked=st.none() | st.floats(),
    tried=st.integers(1, MAX_ATTEMPTS - 1),
    jitter=st.floats(0, 1),
)
def test_no_wait_exceeds_the_maximum(asked, tried, jitter):
    verdict = decide(RateLimitError("m", "no", asked), AttemptHistory(tried), jitter)

    assert isinstance(verdict, Retry)
    assert 0 < verdict.seconds <= max(MAX_BACKOFF, MAX_RETRY_AFTER)


@pytest.mark.parametrize(("tried", "seconds"), [(6, 32.0), (7, MAX_BACKOFF), (9999, MAX_BACKOFF)])
def test_probes_during_an_outage_use_up_no_attempts(tried, seconds):
    assert decide(ProviderDownError("m", "no"), AttemptHistory(tried, 1), 1.0, 899.0) == Retry(
        seconds
    )


@pytest.mark.parametrize("tried", [1, MAX_ATTEMPTS])
def test_a_call_fails_after_a_long_outage(tried):
    verdict = decide(ProviderDownError("m", "no"), AttemptHistory(tried), 1.0, MAX_OUTAGE)

    assert verdict == GiveUp("provider_down, no call answered for 15 min: no")


@pytest.mark.parametrize("away", [None, 0.0, 899.0])
def test_an_outage_does_not_lift_the_maximum_of_attempts_in_doubt(away):
    verdict = decide(CallTimeoutError("m", "no"), AttemptHistory(2, 2), 1.0, away)

    assert verdict == GiveUp("call_timeout, 2 attempts in doubt: no")


def test_errors_of_a_proxy_during_an_outage_use_up_no_attempts():
    failed = ProviderFailedError("m", "no")

    assert decide(failed, AttemptHistory(2, 2), 1.0, 0.0) == Retry(2.0)
    assert decide(failed, AttemptHistory(5, 5), 1.0, 899.0) == Retry(16.0)
    assert decide(failed, AttemptHistory(6, 6), 1.0, 899.0) == GiveUp(
        "provider_failed, 6 attempts in doubt: no"
    )
