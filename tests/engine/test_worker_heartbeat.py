"""A worker on record: it goes on to say that it is there, whatever befalls the database."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from archon_batch.engine import runtime, worker_heartbeat
from archon_batch.errors import StoreUnavailableError
from archon_batch.store import Store
from tests.acceptance.stage import until


def test_a_worker_that_could_not_say_that_it_is_there_says_so_when_it_can(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [StoreUnavailableError("database: away"), StoreUnavailableError("database: away")]

    def current(_settings: object) -> SimpleNamespace:
        if away:
            raise away.pop()
        return SimpleNamespace(store=store)

    monkeypatch.setattr(worker_heartbeat, "_HEARTBEAT_INTERVAL", 0.01)
    monkeypatch.setattr(runtime, "current", current)

    with capture_logs() as logs:
        there = worker_heartbeat.WorkerHeartbeat("calls-1@a", frozenset({"calls"}))
        until(store.workers.consumed_queues)
        there.wait_until_deregistered()

    assert [log["event"] for log in logs] == ["worker_heartbeat_failed"] * 2
    assert store.workers.all() == []
