"""A worker on record: it goes on to say that it is there, whatever befalls the database."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from archon_batch.engine import runtime, worker_heartbeat
from archon_batch.errors import StoreAwayError
from archon_batch.store import Store
from tests.acceptance.stage import until


def test_a_worker_that_could_not_say_that_it_is_there_says_so_when_it_can(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [StoreAwayError("database: away"), StoreAwayError("database: away")]

    def current(_settings: object) -> SimpleNamespace:
        if away:
            raise away.pop()
        return SimpleNamespace(store=store)

    monkeypatch.setattr(worker_heartbeat, "_SAY", 0.01)
    monkeypatch.setattr(runtime, "current", current)

    with capture_logs() as logs:
        there = worker_heartbeat.Presence("calls-1@a", frozenset({"calls"}))
        until(store.workers.drained)
        there.gone()

    assert [log["event"] for log in logs] == ["presence_untold"] * 2
    assert store.workers.all() == []
