"""Celery consumer that survives broker outages, refused logins and forged messages."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer

from archon_batch.engine import message_schema, stop_signals
from archon_batch.engine.app import settings
from archon_batch.engine.broker import to_broker_error

#: Most seconds between two tries to reach the broker; seconds to pause after it refused.
_MAX_RETRY_INTERVAL, _REFUSED_PAUSE = 5, 2.0

_log = structlog.get_logger()


class Consumer(CeleryConsumer):
    """Treats AttributeError from a closed kombu channel as a lost connection.

    When Redis is killed and restarts at once, kombu 5.7 may use a channel that was just closed. For
    Celery, its AttributeError is no connection error, and ends the worker with calls in flight.
    """

    channel_errors: tuple[type[Exception], ...] = ()
    conninfo: Any

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        # Without gossip and mingle: every worker would receive the events of all, for no use.
        worker_options = options.pop("worker_options", None) or {}
        options["worker_options"] = {
            **worker_options,
            "without_gossip": True,
            "without_mingle": True,
        }
        super().__init__(*args, **options)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, AttributeError)

    def start(self) -> None:
        """Handle SIGHUP like SIGTERM: by default Celery exits at once, or restarts the program."""
        if not settings.in_process:
            stop_signals.forbid_nesting(signal.SIGTERM)
            stop_signals.handle_sighup(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            message_schema.disable_decompression()
        super().start()

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  (a kombu connection)
        """Wait for the broker with a try every few seconds; kombu would back off to 30 s."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=1,
            interval_step=1,
            interval_max=_MAX_RETRY_INTERVAL,
        )
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log how to fix it, and pause: Celery retries at once."""
        self._log_and_pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection, even if kombu fails to close a half-closed one.

        Closing restores unacknowledged messages. If Redis is unreachable, kombu tries it a second
        time with a closed transport, and the AttributeError would end the worker. The watchdog
        resends those messages before Redis redelivers them.
        """
        with suppress(AttributeError):
            super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            self._log_and_pause(exc)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:  # noqa: ANN401
        """Celery's message handler; it refuses messages that are not ours."""
        handle: Callable[[Any], None] = super().create_task_handler(*args, **options)
        if settings.in_process:
            return handle

        def handle_if_valid(message: Any) -> None:  # noqa: ANN401
            problem = message_schema.task_message_error(message)
            if problem is None:
                handle(message)
            else:
                self._refuse(message, problem)

        return handle_if_valid

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401
        """Refuse what kombu cannot decode, without quoting it."""
        self._refuse(message, f"cannot be decoded: {type(exc).__name__}")

    def _refuse(self, message: Any, why: str) -> None:  # noqa: ANN401
        _log.warning("message_refused", why=why)
        # If kombu could not build a message, there is nothing to acknowledge.
        with suppress(AttributeError):
            message.reject_log_error(_log, self.connection_errors)

    def _log_and_pause(self, exc: Exception) -> None:
        _log.error("broker_refused", why=str(to_broker_error(exc, self.conninfo.as_uri())))
        time.sleep(_REFUSED_PAUSE)
