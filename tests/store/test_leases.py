"""A lease has one holder until it expires, by the clock that all processes share."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from archon_batch import store as front
from archon_batch.store import Store, now
from archon_batch.store.process_identity import current_process_id
from tests.builders import a_job, a_start

ELSEWHERE = "elsewhere:1:1"


def aged(store, seconds):
    with store.database.write_transaction() as connection:
        connection.execute(
            sa.text("UPDATE leases SET expires_at = expires_at - :ago"), {"ago": seconds}
        )


def test_a_lease_has_one_holder(any_store):
    leases = any_store.leases

    assert leases.acquire("leader", "one", 20)
    assert not leases.acquire("leader", "two", 20)
    assert leases.acquire("leader", "one", 20)


def test_an_expired_or_released_lease_is_free(any_store):
    leases = any_store.leases
    leases.acquire("leader", "one", 20)
    aged(any_store, 30)

    assert leases.all() == {"leader": False}
    assert leases.acquire("leader", "two", 20)
    leases.release("leader", "one")
    assert not leases.acquire("leader", "one", 20)
    leases.release("leader", "two")
    assert leases.acquire("leader", "one", 20)
    assert leases.all() == {"leader": True}


def test_a_lease_acquired_by_a_clock_a_day_ahead_is_free(any_store):
    leases = any_store.leases
    leases.acquire("leader", "one", 20)
    aged(any_store, -86_400)

    assert leases.all() == {"leader": False}
    assert leases.acquire("leader", "two", 20)
    assert leases.all() == {"leader": True}


def test_leases_are_deleted_long_after_they_expired(any_store):
    any_store.leases.acquire("leader", "one", 20)
    any_store.leases.delete_expired()
    assert any_store.leases.all() == {"leader": True}

    aged(any_store, 100_000)
    any_store.leases.delete_expired()

    assert any_store.leases.all() == {}


def lost(store, owner, lasts=60.0, **how):
    job = a_job(store)
    store.attempt_writer.admit(a_start(job, owner=owner, expires_after=lasts)).result(30)
    return store.recover(**how) == 1


@pytest.mark.parametrize("lasts", [60, -7200], ids=["clocks agree", "its clock is behind"])
def test_an_attempt_of_a_living_process_on_another_machine_is_left_alone(any_store, lasts):
    any_store.leases.acquire(ELSEWHERE, ELSEWHERE, 20)

    assert not lost(any_store, ELSEWHERE, lasts, include_expired_leases=True)


def test_an_attempt_is_lost_with_the_expired_lease_of_its_process(any_store):
    any_store.leases.acquire(ELSEWHERE, ELSEWHERE, 20)
    aged(any_store, 30)

    assert not lost(any_store, ELSEWHERE, include_expired_leases=False)
    assert any_store.recover(include_expired_leases=True) == 1


def test_a_process_whose_clock_is_ahead_expires_no_foreign_attempts(any_store, monkeypatch):
    any_store.leases.acquire(ELSEWHERE, ELSEWHERE, 20)
    job = a_job(any_store)
    any_store.attempt_writer.admit(a_start(job, owner=ELSEWHERE)).result(30)

    monkeypatch.setattr(front, "now", lambda: now() + timedelta(hours=2))

    assert any_store.recover(include_expired_leases=True) == 0


@pytest.mark.postgres
def test_leases_use_the_clock_of_the_server(postgres_url, monkeypatch):
    store = Store.open(postgres_url)
    store.leases.acquire("leader", "one", 20)

    # Two hours ahead on this machine.
    ahead = datetime.now(UTC) + timedelta(hours=2)
    monkeypatch.setattr("archon_batch.store.database.now", lambda: ahead)

    assert not store.leases.acquire("leader", "two", 20)
    assert store.leases.all() == {"leader": True}
    store.close()


def test_a_process_expires_its_own_attempts_by_its_own_clock(any_store):
    any_store.leases.acquire(current_process_id(), current_process_id(), 20)

    assert lost(any_store, current_process_id(), lasts=-1)
