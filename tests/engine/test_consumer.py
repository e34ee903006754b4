"""The consumer comes back from a broken connection, whatever kombu makes of closing it."""

from celery.worker.consumer import Consumer as CeleryConsumer

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
