"""Celery's consumer, which comes back from a broker that was away, soon and whatever kombu says."""

import os
import signal
from contextlib import suppress
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from archon_batch.engine import hangup
from archon_batch.engine.app import settings

#: Seconds between two looks for a broker that is away, at most.
_LONGEST = 5


class Consumer(CeleryConsumer):
    """Takes that for the loss of a connection which it is.

    When Redis is killed and back at once, kombu 5.7 may use a channel that has just been closed. Its
    AttributeError is no connection error to Celery, which ends the worker with calls in flight.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def start(self) -> None:
        """Heed SIGHUP as SIGTERM: Celery ends at once by it, or starts the program again."""
        if not settings.embedded:
            hangup.heed(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        super().start()

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  (a connection of kombu's)
        """Wait for the broker, and look every few seconds: kombu comes to look every 30."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=_LONGEST
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, also when kombu cannot close what it has closed by half.

        Closing gives messages back. If Redis is away while that is done, it is done a second time,
        by a transport that is gone, and the AttributeError would end the worker. Redis gives them
        again in its own time; the sweeper is sooner.
        """
        with suppress(AttributeError):
            super().on_connection_error_after_connected(exc)
