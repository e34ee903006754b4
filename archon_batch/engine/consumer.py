"""Celery's consumer, which outlives a broker that was away, a refusal, and a forged message."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer

from archon_batch.engine import message_schema, sighup
from archon_batch.engine.app import settings
from archon_batch.engine.broker import to_broker_error

#: Seconds between two looks for a broker that is away, at most; after one that refuses.
_MAX_RETRY_INTERVAL, _REFUSED_PAUSE = 5, 2.0

_log = structlog.get_logger()


class Consumer(CeleryConsumer):
    """Takes that for the loss of a connection which it is.

    When Redis is killed and back at once, kombu 5.7 may use a channel that has just been closed. Its
    AttributeError is no connection error to Celery, which ends the worker with calls in flight.
    """

    channel_errors: tuple[type[Exception], ...] = ()
    conninfo: Any

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        # Each worker would hear the events of all, for what none of ours needs.
        options = more.pop("worker_options", None) or {}
        more["worker_options"] = {**options, "without_gossip": True, "without_mingle": True}
        super().__init__(*args, **more)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def start(self) -> None:
        """Heed SIGHUP as SIGTERM: Celery ends at once by it, or starts the program again."""
        if not settings.in_process:
            sighup.handle_sighup(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            message_schema.disable_decompression()
        super().start()

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  (a connection of kombu's)
        """Wait for the broker, and look every few seconds: kombu comes to look every 30."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=1,
            interval_step=1,
            interval_max=_MAX_RETRY_INTERVAL,
        )
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say what would do, and give it a moment: Celery tries again at once."""
        self._log_and_pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, also when kombu cannot close what it has closed by half.

        Closing gives messages back. If Redis is away while that is done, it is done a second time,
        by a transport that is gone, and the AttributeError would end the worker. Redis gives them
        again in its own time; the sweeper is sooner.
        """
        with suppress(AttributeError):
            super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            self._log_and_pause(exc)

    def create_task_handler(self, *args: Any, **more: Any) -> Callable[[Any], None]:  # noqa: ANN401
        """What takes a message; one that is none of ours is refused, and ends nothing."""
        take: Callable[[Any], None] = super().create_task_handler(*args, **more)
        if settings.in_process:
            return take

        def taken(message: Any) -> None:  # noqa: ANN401
            why = message_schema.task_message_error(message)
            if why is None:
                take(message)
            else:
                self._refuse(message, why)

        return taken

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401
        """Refuse what kombu cannot decode, and quote nothing of it."""
        self._refuse(message, f"cannot be decoded: {type(exc).__name__}")

    def _refuse(self, message: Any, why: str) -> None:  # noqa: ANN401
        _log.warning("message_refused", why=why)
        # What kombu could not make a message of is acknowledged by nobody.
        with suppress(AttributeError):
            message.reject_log_error(_log, self.connection_errors)

    def _log_and_pause(self, exc: Exception) -> None:
        _log.error("broker_refused", why=str(to_broker_error(exc, self.conninfo.as_uri())))
        time.sleep(_REFUSED_PAUSE)
