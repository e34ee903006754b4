"""The consumer comes back from a broken connection, whatever kombu makes of closing it."""

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


def test_a_broker_that_is_away_is_looked_for_every_few_seconds(monkeypatch):
    slept, looks = [0.0], []
    consumer = Consumer.__new__(Consumer)
    consumer.app, consumer.first_connection_attempt = app, True
    consumer.broker_connection_retry_attempt = 0
    connection = app.connection_for_read("redis://127.0.0.1:9/0")

    def away():
        looks.append(sum(slept))
        if len(looks) == 20:
            raise KeyboardInterrupt
        raise ConnectionRefusedError

    monkeypatch.setattr(connection, "_connection_factory", away)
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    with pytest.raises(KeyboardInterrupt):
        consumer.ensure_connected(connection)

    assert max(b - a for a, b in pairwise(looks)) == 5


def test_a_broker_that_refuses_is_told_of_and_given_a_moment(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("archon_batch.engine.consumer.time.sleep", slept.append)
    consumer = Consumer.__new__(Consumer)
    consumer.conninfo = app.connection_for_read("amqp://guest:word@broker//")

    with capture_logs() as logs:
        consumer.on_connection_error_before_connected(AccessRefused("Login was refused"))

    assert slept == [module._REFUSED_PAUSE]
    assert [log["event"] for log in logs] == ["broker_refused"]
    assert "word@" not in logs[0]["why"]


def test_what_a_channel_refuses_is_tried_again():
    assert app.conf.broker_channel_error_retry
