"""Celery's consumer, which begins again also when kombu finds its channel without a connection."""

from contextlib import suppress
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):
    """Takes that for the loss of a connection which it is.

    When Redis is killed and back at once, kombu 5.7 may use a channel that has just been closed. Its
    AttributeError is no connection error to Celery, which ends the worker with calls in flight.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, also when kombu cannot close what it has closed by half.

        Closing gives messages back. If Redis is away while that is done, it is done a second time,
        by a transport that is gone, and the AttributeError would end the worker. Redis gives them
        again in its own time; the sweeper is sooner.
        """
        with suppress(AttributeError):
            super().on_connection_error_after_connected(exc)
