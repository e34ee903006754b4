"""The worker registry."""

from archon_batch.store import Store


def _ages(store: Store, seconds: float) -> None:
    with store.database.write_transaction() as connection:
        connection.exec_driver_sql(f"UPDATE workers SET heartbeat_at = heartbeat_at - {seconds}")  # noqa: S608


def test_the_queues_of_living_workers_are_consumed(any_store: Store) -> None:
    any_store.workers.register("calls-1@a", {"calls", "calls.openai"})
    any_store.workers.register("joins-1@b", {"joins"})

    assert any_store.workers.consumed_queues() == {"calls", "calls.openai", "joins"}
    assert [(w.name, w.queues) for w in any_store.workers.all()] == [
        ("calls-1@a", ("calls", "calls.openai")),
        ("joins-1@b", ("joins",)),
    ]


def test_a_deregistered_worker_consumes_no_queue(any_store: Store) -> None:
    any_store.workers.register("one", {"calls"})
    any_store.workers.register("two", {"joins"})

    any_store.workers.deregister("one")

    assert any_store.workers.consumed_queues() == {"joins"}


def test_a_silent_worker_counts_again_after_a_heartbeat(any_store: Store) -> None:
    any_store.workers.register("one", {"calls"})
    _ages(any_store, 31)
    silent = any_store.workers.consumed_queues()
    (worker,) = any_store.workers.all()

    any_store.workers.register("one", {"calls", "joins"})

    assert silent == frozenset()
    assert (worker.is_alive, worker.seconds_since_heartbeat >= 31) == (False, True)
    assert any_store.workers.consumed_queues() == {"calls", "joins"}


def test_a_worker_whose_heartbeat_is_in_the_future_does_not_count(
    any_store: Store,
) -> None:
    any_store.workers.register("one", {"calls"})
    _ages(any_store, -86_400)

    assert any_store.workers.consumed_queues() == frozenset()


def test_a_worker_that_was_silent_for_a_day_is_deleted(any_store: Store) -> None:
    any_store.workers.register("one", {"calls"})
    _ages(any_store, 86_401)

    any_store.workers.register("two", {"calls"})

    assert [worker.name for worker in any_store.workers.all()] == ["two"]
