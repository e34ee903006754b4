"""The watchdog resends lost messages, and none that is waiting or in progress."""

import threading
import time

import pytest
import sqlalchemy as sa

from archon_batch.engine import queues, watchdog
from archon_batch.engine.app import app
from archon_batch.engine.broker import carrier, queue_lengths
from archon_batch.engine.in_process import in_process_workers
from archon_batch.engine.runtime import Runtime
from archon_batch.engine.start_job import start_job
from archon_batch.errors import BrokerError
from archon_batch.settings import Settings, Timing
from archon_batch.store import Admitted
from archon_batch.store.process_identity import current_process_id
from tests.builders import a_job, a_start, an_architecture

ELSEWHERE = "elsewhere:1:1"


@pytest.fixture
def here(tmp_path):
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()
    app.control.purge()


def a_small_job(here, **changes):
    return a_job(here.store, architecture=an_architecture("generator", "fuser"), **changes)


def aged(here, table, column, seconds=30):
    """Move a column of times back by so many seconds."""
    own: sa.ColumnClause[float] = sa.column(column)
    with here.store.database.write_transaction() as connection:
        connection.execute(sa.update(sa.table(table, own)).values({own: own - seconds}))


def lost(here, job):
    """The job's cursors, without their messages."""
    position = here.store.shard_cursors.start(job.id, 4, carrier(), queues.PLANNING)
    aged(here, "shard_cursors", "progress_at")
    return position


def sent():
    return queue_lengths(queues.ALL)[queues.PLANNING]


def test_a_job_whose_messages_were_lost_finishes(here):
    job = a_small_job(here, questions=6, shard=1)
    lost(here, job)
    pause = threading.Event()
    end = time.monotonic() + 40

    with in_process_workers(here):
        here.watchdog.run_once()
        while here.store.jobs.get(job.id).state != "done":
            assert time.monotonic() < end
            pause.wait(0.05)

    assert here.store.usage.progress(job.id).answered == 6


def test_a_resent_message_is_not_resent_while_it_waits(here):
    lost(here, a_small_job(here, questions=3, shard=1))

    here.watchdog.run_once()
    first = sent()
    aged(here, "shard_cursors", "progress_at")
    here.watchdog.run_once()

    assert (first, sent()) == (3, 3)


def test_after_a_long_time_a_message_is_resent_although_messages_wait(here):
    lost(here, a_small_job(here))
    here.watchdog.run_once()

    aged(here, "shard_cursors", "progress_at", 1000)
    here.watchdog.run_once()

    assert sent() == 2


def test_a_message_lost_among_many_is_resent_when_later_ones_are_fetched(here):
    lost(here, a_small_job(here, name="unlucky"))
    aged(here, "shard_cursors", "sent_at")
    job = a_small_job(here, name="lucky", questions=3, shard=1)
    start_job(here.store, job)
    one = next(
        s.position
        for s in here.store.shard_cursors.stalled(carrier(), -60)
        if s.position.job_id == job.id
    )

    here.watchdog.run_once()
    before = sent()
    with here.keep_alive(one.job_id, one.cursor, one.token):
        here.watchdog.run_once()

    assert (before, sent()) == (3, 4)


def test_a_cursor_in_progress_is_left_alone(here):
    (position,) = lost(here, a_small_job(here))

    with (
        here.keep_alive(position.job_id, position.cursor, position.token),
        here.keep_alive(position.job_id, position.cursor, position.token),
    ):
        here.watchdog.run_once()
        aged(here, "shard_cursors", "progress_at")
        here.watchdog.run_once()
        during = sent()
    aged(here, "shard_cursors", "progress_at")
    here.watchdog.run_once()

    assert (during, sent()) == (0, 1)


def test_cursors_of_another_command_are_left_alone(here):
    job = a_small_job(here)
    here.store.shard_cursors.start(job.id, 4, ELSEWHERE, queues.PLANNING)
    aged(here, "shard_cursors", "progress_at")

    here.watchdog.run_once()

    assert sent() == 0


def test_one_process_at_a_time_leads(here):
    lost(here, a_small_job(here))
    assert here.store.leases.acquire(f"watchdog of {carrier()}", ELSEWHERE, 60)

    here.watchdog.run_once()
    before = sent()
    aged(here, "leases", "expires_at", 100)
    here.watchdog.run_once()

    assert (before, sent()) == (0, 1)


def test_a_leader_that_cannot_reach_the_broker_lets_another_process_lead(here, monkeypatch):
    lost(here, a_small_job(here))

    def cut_off(_names):
        raise BrokerError("redis://elsewhere", "timed out")

    with monkeypatch.context() as patch:
        patch.setattr(watchdog, "queue_lengths", cut_off)
        with pytest.raises(BrokerError):
            here.watchdog.run_once()
    # Its next run may be sooner than another process's.
    here.watchdog.run_once()

    assert sent() == 0
    assert here.store.leases.acquire(f"watchdog of {carrier()}", ELSEWHERE, 60)


def test_a_process_counts_as_dead_only_if_it_could_have_renewed_its_lease(here):
    job = a_small_job(here)
    here.store.leases.acquire(ELSEWHERE, ELSEWHERE, 20)
    begun = here.store.attempt_writer.admit(a_start(job, owner=ELSEWHERE)).result(30)
    aged(here, "leases", "expires_at", 100)

    here.watchdog.run_once()
    early = here.store.jobs.get(job.id).held
    # This process has renewed its lease without a gap for longer than a lease lasts.
    here.watchdog._renewing_since -= 60
    here.watchdog.run_once()

    assert isinstance(begun, Admitted)
    assert early > 0
    assert here.store.jobs.get(job.id).held == 0
    assert here.store.jobs.get(job.id).in_doubt == early


def test_a_process_that_was_frozen_declares_no_process_dead(here):
    here.watchdog._renewing_since -= 600
    here.watchdog._renewed_at -= 300

    here.watchdog.run_once()

    assert here.watchdog._renewed_at - here.watchdog._renewing_since < 20


def test_a_process_that_ends_leaves_no_lease(tmp_path):
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    opened.watchdog.run_once()
    held = set(opened.store.leases.all())
    opened.close()

    again = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    left = set(again.store.leases.all())
    again.close()

    assert held == {current_process_id(), f"watchdog of {current_process_id()}"}
    assert left == {current_process_id()}


def test_a_job_started_twice_plans_no_shard_twice(here):
    job = a_small_job(here, questions=3, shard=1)
    start_job(here.store, job)
    start_job(here.store, job)

    # The first three messages have old tokens.
    assert sent() == 6
    assert len(here.store.shard_cursors.stalled(carrier(), -60)) == 3


def test_a_process_blocked_by_its_broker_keeps_its_lease(tmp_path, monkeypatch):
    blocked, renewed = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(watchdog.Watchdog, "run_once", lambda _self: blocked.wait(30))
    monkeypatch.setattr(watchdog.Watchdog, "heartbeat", lambda _self: renewed.release())

    opened = Runtime(
        Settings(
            database_url=f"sqlite:///{tmp_path}/store.db", timing=Timing(watchdog_interval=0.01)
        )
    )
    try:
        # At its start, and while the run is blocked.
        assert [renewed.acquire(timeout=30) for _ in range(4)] == [True] * 4
    finally:
        blocked.set()
        opened.close()


def test_a_job_has_as_many_cursors_as_the_living_processes_can_work_on(here, monkeypatch):
    monkeypatch.setattr(here.watchdog, "_carrier", "broker")
    job = a_small_job(here, questions=9, shard=1, width=2)
    here.store.shard_cursors.start(job.id, job.concurrent_shards, "broker", queues.PLANNING)

    here.watchdog.run_once()
    alone = here.store.shard_cursors.counts_by_job("broker")[job.id]
    here.store.leases.acquire(ELSEWHERE, ELSEWHERE, 20)
    here.watchdog.run_once()

    assert (alone, here.store.shard_cursors.counts_by_job("broker")[job.id]) == (2, 4)
