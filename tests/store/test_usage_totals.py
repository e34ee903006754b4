"""Usage totals of a job, its layers and its items."""

from dataclasses import fields

import pytest

from archon_batch.archon import Answer, CallKey, Failed, ItemWarning, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd
from archon_batch.store import CallId, Progress, UsageTotals
from tests.builders import a_finish, a_job, a_start, in_doubt


def begin(store, start):
    store.attempt_writer.admit(start).result(30)
    return start


def settle(store, finish):
    store.attempt_writer.settle(finish).result(30)


def start(job, layer, component, slot, again=0, **changes):
    return a_start(job, call=CallId(job.id, 0, CallKey(layer, component, slot, again)), **changes)


@pytest.fixture
def job(any_store):
    """A job with one of each: answered, failed, in doubt, unpriced, cached, in flight."""
    before, job = a_job(any_store, name="before"), a_job(any_store)
    settle(any_store, a_finish(begin(any_store, start(before, 0, 0, 9, fingerprint="old"))))

    answered = begin(any_store, start(job, 0, 0, 0))
    settle(any_store, a_finish(answered, usage=Usage(10, 5), cost=NanoUsd(60)))

    slow = begin(any_store, start(job, 0, 0, 1, fingerprint="slow"))
    settle(any_store, in_doubt(slow))
    again = begin(any_store, start(job, 0, 0, 1, fingerprint="slow"))
    settle(any_store, a_finish(again, 2, usage=Usage(7, None), cost=NanoUsd(40)))

    refused = begin(any_store, start(job, 0, 1, 0, fingerprint="bad", model="scripted/rough"))
    settle(
        any_store,
        a_finish(
            refused,
            billing=Billing.NOT_BILLED,
            outcome="refused",
            usage=Usage(),
            cost=NanoUsd(0),
            reply=Reply(None, failure="refused: no"),
        ),
    )

    broken = begin(any_store, start(job, 1, 0, 0, fingerprint="cut", kind="ranker"))
    settle(
        any_store,
        a_finish(broken, outcome="broken_reply", usage=Usage(1, 1), cost=NanoUsd(9), reply=None),
    )

    free = begin(any_store, start(job, 1, 0, 0, 1, fingerprint="free", kind="ranker", hold=None))
    settle(any_store, a_finish(free, usage=Usage(3, 3), cost=None))

    unread = begin(any_store, start(job, 1, 0, 10, 10, fingerprint="unread", kind="ranker"))
    settle(any_store, a_finish(unread, usage=Usage(1, 1), cost=NanoUsd(6)))

    begin(any_store, start(job, 2, 0, 0, fingerprint="old", kind="fuser"))
    begin(any_store, start(job, 2, 0, 1, fingerprint="new", kind="fuser"))
    return job


TOTAL = UsageTotals(
    calls=6,
    cached_calls=1,
    attempts=8,
    failed_calls=1,
    unpriced_calls=1,
    in_doubt=1,
    prompt_tokens=22,
    completion_tokens=10,
    cost=115,
    in_doubt_cost=100,
    failed_cost=9,
    reask_cost=6,
    cache_saved=60,
)


def test_the_total_counts_every_attempt_and_every_call(any_store, job):
    assert any_store.usage.total(job.id) == TOTAL


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("layer", [{"layer": 0}, {"layer": 1}, {"layer": 2}]),
        ("model", [{"model": "scripted/plausible"}, {"model": "scripted/rough"}]),
        (
            "component",
            [
                {"layer": layer, "component": component, "kind": kind, "model": f"scripted/{model}"}
                for layer, component, kind, model in (
                    (0, 0, "generator", "plausible"),
                    (0, 1, "generator", "rough"),
                    (1, 0, "ranker", "plausible"),
                    (2, 0, "fuser", "plausible"),
                )
            ],
        ),
    ],
)
def test_groups_are_sorted_and_add_up_to_the_total(any_store, job, group, names):
    groups = any_store.usage.by_group(job.id, group)

    assert [name for name, _ in groups] == names
    assert sum((totals for _, totals in groups), UsageTotals()) == TOTAL


def test_the_totals_of_a_layer_contain_its_calls_only(any_store, job):
    first, second, third = (totals for _, totals in any_store.usage.by_group(job.id, "layer"))

    assert (first.calls, first.attempts, first.cost, first.in_doubt_cost) == (3, 4, 100, 100)
    assert (second.calls, second.attempts, second.failed_cost, second.unpriced_calls) == (
        2,
        3,
        9,
        1,
    )
    assert (first.reask_cost, second.reask_cost) == (0, 6)
    assert (third.calls, third.attempts, third.cached_calls, third.cache_saved) == (1, 1, 1, 60)


def test_the_totals_of_an_item_contain_its_calls_only(any_store, job):
    item, other = any_store.item_results.all(job.id)

    assert item.usage == TOTAL
    assert other.usage == UsageTotals()


def test_the_totals_agree_with_the_money_of_the_job(any_store, job):
    after = any_store.jobs.get(job.id)

    assert (after.spent, after.held, after.in_doubt) == (TOTAL.cost, 100, TOTAL.in_doubt_cost)


def test_a_job_without_calls_has_empty_totals(any_store):
    job = a_job(any_store)

    assert any_store.usage.total(job.id) == UsageTotals()
    assert any_store.usage.by_group(job.id, "layer") == []
    assert any_store.usage.warning_counts(job.id) == {}


def test_totals_add_up_field_by_field():
    one = UsageTotals(**{field.name: n for n, field in enumerate(fields(UsageTotals))})

    both = one + one

    assert both == UsageTotals(**{field.name: 2 * n for n, field in enumerate(fields(UsageTotals))})


def test_progress_counts_items_by_status(any_store):
    job = a_job(any_store, questions=6)
    answer = Answer("four", "0.0.0")
    any_store.items.finish(job.id, [(0, answer), (1, answer), (2, Failed(0, "no"))])

    before = any_store.usage.progress(job.id)
    any_store.items.cancel_job(job.id)
    after = any_store.usage.progress(job.id)

    assert before == Progress(open=3, answered=2, failed=1)
    assert after == Progress(answered=2, failed=1, cancelled=3)


def test_warnings_are_counted_by_component_and_kind(any_store):
    job = a_job(any_store, questions=3)
    failed, without = (
        ItemWarning(1, 0, "failed", "refused: no"),
        ItemWarning(1, 0, "skipped", "refused: no"),
    )
    any_store.items.finish(
        job.id,
        [
            (0, Answer("four", "0.0.0", (failed, without))),
            (1, Failed(1, "no", (failed, ItemWarning(0, 2, "unparsed", "the reply was empty")))),
            (2, Answer("four", "0.0.0")),
        ],
    )

    counts = any_store.usage.warning_counts(job.id)

    assert counts == {(1, 0, "failed"): 2, (1, 0, "skipped"): 1, (0, 2, "unparsed"): 1}
