"""Names on the broker: with the installation's id, so that several installations can share a broker.

Users and the database know the queues by their short names, ``joins`` and ``calls``.
"""

import sys
import time
from typing import Any

import structlog
from celery.app.amqp import AMQP
from celery.app.amqp import Queues as CeleryQueues
from kombu import Exchange, Queue

from archon_batch import logs
from archon_batch.engine import queues
from archon_batch.errors import StoreUnavailableError
from archon_batch.settings import Settings
from archon_batch.store import Store

#: Seconds between two tries to reach the database, and between two log entries about it.
_RETRY_INTERVAL, _LOG_INTERVAL = 1.0, 30.0

_log = structlog.get_logger()
#: The installation's id; empty without a broker.
_installation_id = ""


def broker_names(settings: Settings) -> dict[str, Any]:
    """Read the installation's id from the database; return Celery's settings with the names.

    A Celery worker waits here until the database is available: without the id it has no queue.

    Raises:
        StoreError: the database is unreachable or unusable.
    """
    global _installation_id  # noqa: PLW0603
    if not settings.in_process:
        _installation_id = _read_installation_id(settings)
    configuration: dict[str, Any] = {
        "task_queues": [_queue(full_name(name)) for name in queues.ALL],
        # For remote control and events.
        "control_exchange": full_name("celery"),
        "event_exchange": full_name("celeryev"),
    }
    if settings.broker_is_redis:
        # For messages that were fetched and are not acknowledged.
        keys = {
            f"{key}_key": full_name(key) for key in ("unacked", "unacked_index", "unacked_mutex")
        }
        configuration["broker_transport_options"] = keys
    return configuration


def full_name(name: str) -> str:
    """The name on the broker: ``calls@0123456789ab`` for ``calls``."""
    suffix = f"@{_installation_id}"
    return name if not _installation_id or name.endswith(suffix) else name + suffix


def short_name(name: str) -> str:
    """The name for users: ``calls`` for ``calls@0123456789ab``."""
    return name.removesuffix(f"@{_installation_id}")


class Queues(CeleryQueues):
    """Celery's queues, also accessible by their short names: ``--queues calls``."""

    def __getitem__(self, name: str) -> Queue:
        return super().__getitem__(full_name(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(full_name(str(name)))


class Amqp(AMQP):
    queues_cls = Queues


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name), routing_key=name)


def _read_installation_id(settings: Settings) -> str:
    logged_at = -_LOG_INTERVAL
    while True:
        try:
            store = Store.open(settings.database_url)
            try:
                return store.installation.id
            finally:
                store.close()
        except StoreUnavailableError as error:
            # Our own commands report it and end; only a Celery worker waits.
            if "celery.bin.celery" not in sys.modules:
                raise
            if time.monotonic() - logged_at > _LOG_INTERVAL:
                # Celery has not configured logging yet.
                logs.configure(settings.log_level, settings.log_format)
                _log.warning("waiting_for_database", why=str(error))
                logged_at = time.monotonic()
            time.sleep(_RETRY_INTERVAL)
