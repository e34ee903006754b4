"""A worker keeps sending its heartbeat while the database is unavailable."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from archon_batch.engine import runtime, worker_heartbeat
from archon_batch.errors import StoreUnavailableError
from archon_batch.settings import Settings, Timing
from archon_batch.store import Store
from tests.acceptance.stage import until


def test_a_worker_registers_once_the_database_is_available(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = [StoreUnavailableError("database: away"), StoreUnavailableError("database: away")]

    def current(_settings: object) -> SimpleNamespace:
        if outages:
            raise outages.pop()
        return SimpleNamespace(store=store)

    monkeypatch.setattr(
        worker_heartbeat, "settings", Settings(timing=Timing(worker_heartbeat=0.01))
    )
    monkeypatch.setattr(runtime, "current", current)

    with capture_logs() as logs:
        heartbeat = worker_heartbeat.WorkerHeartbeat("calls-1@a", frozenset({"calls"}))
        until(store.workers.consumed_queues)
        heartbeat.wait_until_deregistered()

    assert [log["event"] for log in logs] == ["worker_heartbeat_failed"] * 2
    assert store.workers.all() == []
