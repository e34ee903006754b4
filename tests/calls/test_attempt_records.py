"""What an attempt's end is on the ledger."""

from dataclasses import replace

import pytest

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.calls.attempt_records import success_result
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd, Price
from archon_batch.store import AttemptRequest, CallId, current_process_id, now

#: A nano-dollar a token.
PRICE = Price(1_000_000, 1_000_000)


FOUR = Reply("four")


def ended(usage: Usage, price: Price | None = PRICE, reply: Reply = FOUR):
    call = CallId("job", 0, CallKey(0, 0, 0, 0))
    reserve = NanoUsd(100) if price else None
    start = AttemptRequest(
        call,
        "generator",
        "m",
        "f",
        reserve,
        60.0,
        use_cache=True,
        owner=current_process_id(),
        begun_at=now(),
    )
    return success_result(start, 1, replace(reply, usage=usage), price)


@pytest.mark.parametrize("usage", [Usage(), Usage(10, None), Usage(None, 5)])
def test_a_reply_without_a_whole_report_costs_the_most_it_can_and_is_an_estimate(usage):
    finish = ended(usage)

    assert (finish.cost, finish.estimated, finish.billing) == (100, True, Billing.BILLED)
    assert finish.reply is not None
    assert finish.reply.text == "four"


def test_what_the_provider_charged_counts_before_the_list():
    assert ended(Usage(10, 5)).cost == 15
    assert ended(Usage(10, 5, provider_cost_nano=7)).cost == 7
    assert ended(Usage(provider_cost_nano=0)).cost == 0
    finish = ended(Usage(10, 5, provider_cost_nano=7), None)
    assert (finish.cost, finish.estimated) == (7, False)


def test_an_unpriced_reply_has_no_cost():
    finish = ended(Usage(10, 5), None)

    assert (finish.cost, finish.estimated) == (None, False)


def test_a_reply_without_a_text_is_billed_under_its_own_reason():
    finish = ended(Usage(10, 5), reply=Reply(None, "refused: it says: no"))

    assert (finish.outcome, finish.detail) == ("refused", "it says: no")
    assert (finish.billing, finish.cost) == (Billing.BILLED, 15)
