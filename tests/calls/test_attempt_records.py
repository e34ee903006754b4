"""The record of an attempt's result."""

from dataclasses import replace

import pytest

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.calls.attempt_records import success_result
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd, Price
from archon_batch.store import AttemptRequest, CallId, current_process_id, now

#: One nano-dollar per token.
PRICE = Price(1_000_000, 1_000_000)


FOUR = Reply("four")


def result_of(usage: Usage, price: Price | None = PRICE, reply: Reply = FOUR):
    call = CallId("job", 0, CallKey(0, 0, 0, 0))
    hold = NanoUsd(100) if price else None
    request = AttemptRequest(
        call,
        "generator",
        "m",
        "f",
        hold,
        60.0,
        use_cache=True,
        owner=current_process_id(),
        begun_at=now(),
    )
    return success_result(request, 1, replace(reply, usage=usage), price)


@pytest.mark.parametrize("usage", [Usage(), Usage(10, None), Usage(None, 5)])
def test_a_reply_with_incomplete_usage_costs_the_maximum_and_is_an_estimate(usage):
    result = result_of(usage)

    assert (result.cost, result.estimated, result.billing) == (100, True, Billing.BILLED)
    assert result.reply is not None
    assert result.reply.text == "four"


def test_the_cost_that_the_provider_reports_overrides_the_price_list():
    assert result_of(Usage(10, 5)).cost == 15
    assert result_of(Usage(10, 5, provider_cost_nano=7)).cost == 7
    assert result_of(Usage(provider_cost_nano=0)).cost == 0
    result = result_of(Usage(10, 5, provider_cost_nano=7), None)
    assert (result.cost, result.estimated) == (7, False)


def test_an_unpriced_reply_has_no_cost():
    result = result_of(Usage(10, 5), None)

    assert (result.cost, result.estimated) == (None, False)


def test_a_reply_without_text_is_billed_with_its_reason_as_the_outcome():
    result = result_of(Usage(10, 5), reply=Reply(None, "refused: it says: no"))

    assert (result.outcome, result.detail) == ("refused", "it says: no")
    assert (result.billing, result.cost) == (Billing.BILLED, 15)
