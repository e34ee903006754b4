"""The attempt writer commits queued entries together, and answers after the commit."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from archon_batch.archon import CallKey
from archon_batch.errors import StoreUnavailableError
from archon_batch.store import Admitted, AlreadySettled, CallId, Store, now, schema
from tests.builders import a_finish, a_job, a_start

ROOT = Path(__file__).parents[2]


@contextmanager
def busy(store, job):
    """The database is another's while the body runs: the attempt writer waits with what it has in hand."""
    with store.database.write_transaction() as connection:
        connection.execute(
            sa.select(schema.jobs).where(schema.jobs.c.id == job.id).with_for_update()
        ).all()
        yield


@contextmanager
def commits(store):
    """Every commit that is made while the body runs."""
    counted: list[object] = []

    def count(connection):
        counted.append(connection)

    sa.event.listen(store.database.engine, "commit", count)
    yield counted
    sa.event.remove(store.database.engine, "commit", count)


def test_entries_that_arrive_during_a_commit_share_the_next_one(any_store):
    job = a_job(any_store)
    with commits(any_store) as counted:
        with busy(any_store, job):
            futures = [
                any_store.attempt_writer.admit(a_start(job, slot=slot)) for slot in range(200)
            ]

        verdicts = [future.result(30) for future in futures]

    assert verdicts == [Admitted(1, 1, 0)] * 200
    # One of the other's, one of what the attempt writer had taken, one of all the rest.
    assert len(counted) <= 4
    assert any_store.jobs.get(job.id).held == 20_000


def test_a_large_batch_is_split_over_several_commits(any_store):
    job = a_job(any_store)
    with commits(any_store) as counted:
        with busy(any_store, job):
            futures = [
                any_store.attempt_writer.admit(a_start(job, slot=slot)) for slot in range(600)
            ]

        verdicts = [future.result(30) for future in futures]

    assert verdicts == [Admitted(1, 1, 0)] * 600
    assert 3 <= len(counted) <= 6


def test_a_result_releases_money_for_a_request_in_the_same_commit(any_store):
    job = a_job(any_store, budget=160)
    start = a_start(job, slot=0)
    any_store.attempt_writer.admit(start).result(30)

    with busy(any_store, job):
        in_hand = any_store.attempt_writer.admit(a_start(job, slot=1, hold=None))
        while not any_store.attempt_writer._entries.empty():
            pass
        admission = any_store.attempt_writer.admit(a_start(job, slot=2))
        any_store.attempt_writer.settle(a_finish(start))

    assert in_hand.result(30) == Admitted(1, 1, 0)
    assert admission.result(30) == Admitted(1, 1, 0)
    assert any_store.jobs.get(job.id).spent == 60


def test_closing_commits_the_queued_entries(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/store.db")
    job = a_job(store)
    futures = [store.attempt_writer.admit(a_start(job, slot=slot)) for slot in range(300)]

    store.close()

    assert all(future.done() for future in futures)
    again = Store.open(f"sqlite:///{tmp_path}/store.db")
    assert again.jobs.get(job.id).held == 30_000
    again.close()


def test_closing_an_idle_writer_takes_no_time(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/store.db")

    store.close()

    assert not store.attempt_writer._thread.is_alive()


def test_a_caller_gets_the_error_of_an_impossible_request(any_store):
    job = a_job(any_store)
    nowhere = a_start(job, call=CallId("nowhere", 0, CallKey(0, 0, 0, 0)))

    with pytest.raises(KeyError):
        any_store.attempt_writer.admit(nowhere).result(30)

    assert any_store.attempt_writer.admit(a_start(job)).result(30) == Admitted(1, 1, 0)


def test_an_answer_is_stored_although_its_commit_has_an_impossible_request(any_store):
    job = a_job(any_store)
    start = a_start(job)
    any_store.attempt_writer.admit(start).result(30)
    nowhere = a_start(job, call=CallId("nowhere", 0, CallKey(0, 0, 0, 0)))

    with busy(any_store, job):
        any_store.attempt_writer.admit(a_start(job, slot=1))
        ends = [
            any_store.attempt_writer.admit(nowhere),
            any_store.attempt_writer.settle(a_finish(start)),
        ]

    assert ends[1].exception(30) is None
    assert any_store.attempt_writer.admit(a_start(job)).result(30) == AlreadySettled()


def test_a_cancelled_caller_does_not_stop_the_writer(any_store):
    job = a_job(any_store)

    with busy(any_store, job):
        futures = [any_store.attempt_writer.admit(a_start(job, slot=slot)) for slot in range(5)]
        for future in futures:
            future.cancel()

    assert any_store.attempt_writer.admit(a_start(job, slot=9)).result(3) == Admitted(1, 1, 0)


@pytest.mark.postgres
def test_a_short_outage_of_the_database_loses_nothing(postgres_url):
    store = Store.open(postgres_url)
    job = a_job(store)
    start = a_start(job, slot=0)
    store.attempt_writer.admit(start).result(30)
    url = store.database.engine.url
    server = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")

    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (url.database,),
        )
        end, admission = (
            store.attempt_writer.settle(a_finish(start)),
            store.attempt_writer.admit(a_start(job, slot=1)),
        )
        with pytest.raises(StoreUnavailableError):
            store.jobs.get(job.id)
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true")

    assert admission.result(30) == Admitted(1, 1, 0)
    assert end.exception(30) is None
    assert store.jobs.get(job.id).spent == 60
    server.dispose()
    store.close()


#: What is imported once serves all of its children.
ADDERS = """
import os, sys
from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.store import (
    AttemptRequest, AttemptResult, CallId, Store, current_process_id, now,
)


def add(slot):
    store = Store.open(sys.argv[1])
    job = store.jobs.find("nightly").id
    for ix in range(10):
        requests = [
            AttemptRequest(
                CallId(job, ix, CallKey(0, 0, slot, reask)), "generator", "m",
                f"{ix}/{slot}/{reask}", 100, 60.0, True, current_process_id(), now(),
            )
            for reask in range(2)
        ]
        for future in [store.attempt_writer.admit(request) for request in requests]:
            future.result(30)
        results = [
            AttemptResult(
                request, 1, Billing.BILLED, "ok", None, Usage(1, 1), 60, False, Reply("four"), now()
            )
            for request in requests
        ]
        for future in [store.attempt_writer.settle(result) for result in results]:
            future.result(30)
    store.close()


children = []
for slot in range(4):
    child = os.fork()
    if not child:
        add(slot)
        sys.exit()
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.slow
def test_four_processes_that_add_to_one_total_lose_nothing(any_store):
    job = a_job(any_store, questions=10)
    url = any_store.database.engine.url.render_as_string(hide_password=False)

    finished = subprocess.run([sys.executable, "-c", ADDERS, url], cwd=ROOT, check=False)

    assert finished.returncode == 0
    after = any_store.jobs.get(job.id)
    assert (after.spent, after.held) == (4 * 10 * 2 * 60, 0)
    assert any_store.usage.total(job.id).attempts == 4 * 10 * 2


def test_times_are_read_back_as_written(any_store):
    job = a_job(any_store)
    at = now()

    any_store.attempt_writer.admit(a_start(job, begun_at=at)).result(30)

    (line,) = any_store.item_results.calls(job.id, 0)
    assert line.attempts[0].begun_at == at
