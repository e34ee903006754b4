"""Workers on record."""

from archon_batch.store import Store


def _ages(store: Store, seconds: float) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE workers SET seen = seen - {seconds}")  # noqa: S608


def test_the_queues_of_living_workers_are_drained(any_store: Store) -> None:
    any_store.workers.here("calls-1@a", {"calls", "calls.openai"})
    any_store.workers.here("joins-1@b", {"joins"})

    assert any_store.workers.drained() == {"calls", "calls.openai", "joins"}
    assert [(w.name, w.queues) for w in any_store.workers.all()] == [
        ("calls-1@a", ("calls", "calls.openai")),
        ("joins-1@b", ("joins",)),
    ]


def test_a_worker_that_leaves_drains_nothing_any_more(any_store: Store) -> None:
    any_store.workers.here("one", {"calls"})
    any_store.workers.here("two", {"joins"})

    any_store.workers.gone("one")

    assert any_store.workers.drained() == {"joins"}


def test_a_silent_worker_is_not_counted_on_until_it_says_that_it_is_there(any_store: Store) -> None:
    any_store.workers.here("one", {"calls"})
    _ages(any_store, 31)
    silent = any_store.workers.drained()
    (worker,) = any_store.workers.all()

    any_store.workers.here("one", {"calls", "joins"})

    assert silent == frozenset()
    assert (worker.is_there, worker.silent >= 31) == (False, True)
    assert any_store.workers.drained() == {"calls", "joins"}


def test_a_worker_that_was_heard_of_by_a_clock_a_day_ahead_is_not_counted_on(
    any_store: Store,
) -> None:
    any_store.workers.here("one", {"calls"})
    _ages(any_store, -86_400)

    assert any_store.workers.drained() == frozenset()


def test_a_worker_that_was_silent_for_a_day_is_forgotten(any_store: Store) -> None:
    any_store.workers.here("one", {"calls"})
    _ages(any_store, 86_401)

    any_store.workers.here("two", {"calls"})

    assert [worker.name for worker in any_store.workers.all()] == ["two"]
