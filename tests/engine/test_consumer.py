"""The consumer reconnects after a broken connection, even if kombu fails to close it."""

from itertools import pairwise

import pytest
from amqp.exceptions import AccessRefused
from celery.worker.consumer import Consumer as CeleryConsumer
from structlog.testing import capture_logs

from archon_batch.engine import consumer as module
from archon_batch.engine.app import app
from archon_batch.engine.consumer import Consumer


def test_a_connection_that_cannot_be_closed_does_not_end_the_worker(monkeypatch):
    closed = []

    def half_closed(_self, error):
        closed.append(error)
        raise AttributeError("'NoneType' object has no attribute 'hostname'")

    monkeypatch.setattr(CeleryConsumer, "on_connection_error_after_connected", half_closed)
    consumer, lost = Consumer.__new__(Consumer), ConnectionError("lost")

    consumer.on_connection_error_after_connected(lost)

    assert closed == [lost]


def test_an_unreachable_broker_is_tried_every_few_seconds(monkeypatch):
    slept, tries = [0.0], []
    consumer = Consumer.__new__(Consumer)
    consumer.app, consumer.first_connection_attempt = app, True
    consumer.broker_connection_retry_attempt = 0
    connection = app.connection_for_read("redis://127.0.0.1:9/0")

    def refuse_connection():
        tries.append(sum(slept))
        if len(tries) == 20:
            raise KeyboardInterrupt
        raise ConnectionRefusedError

    monkeypatch.setattr(connection, "_connection_factory", refuse_connection)
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    with pytest.raises(KeyboardInterrupt):
        consumer.ensure_connected(connection)

    assert max(b - a for a, b in pairwise(tries)) == 5


def test_a_refusal_of_the_broker_is_logged_and_followed_by_a_pause(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("archon_batch.engine.consumer.time.sleep", slept.append)
    consumer = Consumer.__new__(Consumer)
    consumer.conninfo = app.connection_for_read("amqp://guest:word@broker//")

    with capture_logs() as logs:
        consumer.on_connection_error_before_connected(AccessRefused("Login was refused"))

    assert slept == [module._REFUSED_PAUSE]
    assert [log["event"] for log in logs] == ["broker_refused"]
    assert "word@" not in logs[0]["why"]


def test_channel_errors_are_retried():
    assert app.conf.broker_channel_error_retry
