"""Names on the broker: they carry the installation's id, so that several may share a broker.

People and the ledger know the queues without it, as ``joins`` and ``calls``.
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

#: Seconds between two looks for a database that is away, and between two words about it.
_RETRY_INTERVAL, _LOG_INTERVAL = 1.0, 30.0

_log = structlog.get_logger()
#: The installation's id; empty where the broker is this process's own.
_installation_id = ""


def broker_names(settings: Settings) -> dict[str, Any]:
    """Ask the database for the installation's id; return what Celery is to be told of names.

    A worker waits for its database, here as everywhere: without the id it has no queue.

    Raises:
        StoreError: the database cannot be reached or used.
    """
    global _installation_id  # noqa: PLW0603
    if not settings.in_process:
        _installation_id = _read_installation_id(settings)
    told: dict[str, Any] = {
        "task_queues": [_queue(full_name(name)) for name in queues.ALL],
        # Where remote control and events go.
        "control_exchange": full_name("celery"),
        "event_exchange": full_name("celeryev"),
    }
    if settings.broker_is_redis:
        # Where it keeps what has been fetched and is not done.
        keys = {
            f"{key}_key": full_name(key) for key in ("unacked", "unacked_index", "unacked_mutex")
        }
        told["broker_transport_options"] = keys
    return told


def full_name(name: str) -> str:
    """``calls`` as the broker has it: ``calls@0123456789ab``."""
    mark = f"@{_installation_id}"
    return name if not _installation_id or name.endswith(mark) else name + mark


def short_name(name: str) -> str:
    """``calls@0123456789ab`` as people have it."""
    return name.removesuffix(f"@{_installation_id}")


class Queues(CeleryQueues):
    """Found by their short names, too: ``--queues calls``."""

    def __getitem__(self, name: str) -> Queue:
        return super().__getitem__(full_name(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(full_name(str(name)))


class Amqp(AMQP):
    queues_cls = Queues


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name), routing_key=name)


def _read_installation_id(settings: Settings) -> str:
    said = -_LOG_INTERVAL
    while True:
        try:
            store = Store.open(settings.database_url)
            try:
                return store.installation.id
            finally:
                store.close()
        except StoreUnavailableError as error:
            # Our own commands say so and end; Celery's stay.
            if "celery.bin.celery" not in sys.modules:
                raise
            if time.monotonic() - said > _LOG_INTERVAL:
                # Celery has not come to that yet.
                logs.configure(settings.log_level, settings.log_format)
                _log.warning("waiting_for_database", why=str(error))
                said = time.monotonic()
            time.sleep(_RETRY_INTERVAL)
