"""Completions as their keeper sees them."""

from datetime import timedelta

from archon_batch.money import NanoUsd
from archon_batch.store import now
from archon_batch.store.completion_cache import _LOOKUP_CHUNK, CacheStats
from tests.builders import a_finish, a_job, a_start


def keep(store, job, slot, **changes):
    start = a_start(job, slot=slot, fingerprint=f"print-{slot}", **changes)
    store.attempt_writer.admit(start).result(30)
    store.attempt_writer.settle(a_finish(start, text="four", cost=NanoUsd(7))).result(30)


def test_completions_are_counted_by_model(any_store):
    job = a_job(any_store)
    for slot in range(3):
        keep(any_store, job, slot, model="m/one" if slot else "m/two")

    one, two = any_store.completion_cache.stats()

    assert (one.model, one.completions, one.characters, one.cost) == ("m/one", 2, 8, 14)
    assert two == CacheStats("m/two", 1, 4, 7, two.oldest, two.newest)
    assert now() - timedelta(minutes=1) < one.oldest <= one.newest <= now()


def test_purged_completions_are_gone_and_jobs_keep_their_replies(any_store):
    job = a_job(any_store)
    for slot in range(3):
        keep(any_store, job, slot, model="m/one" if slot else "m/two")

    assert any_store.completion_cache.purge(now() - timedelta(hours=1)) == 0
    assert any_store.completion_cache.purge(now(), "m/one") == 2
    assert [kept.model for kept in any_store.completion_cache.stats()] == ["m/two"]
    assert any_store.completion_cache.purge(now()) == 1
    assert any_store.completion_cache.stats() == []
    _, replies = any_store.item_results.question_and_replies(job.id, 0)
    assert len(replies) == 3


def test_cached_requests_are_found_among_many(any_store):
    job = a_job(any_store)
    keep(any_store, job, 1)
    asked = [f"print-{n}" for n in range(_LOOKUP_CHUNK + 2)] * 2

    assert {name: kept.text for name, kept in any_store.completion_cache.lookup(asked).items()} == {
        "print-1": "four"
    }
