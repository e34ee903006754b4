"""A worker on record with the queues it drains, and the queues that others drain."""

import threading
import time
from collections.abc import Callable

import structlog
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from archon_batch.engine import broker_names, runtime
from archon_batch.engine.app import app, settings
from archon_batch.errors import ArchonBatchError
from archon_batch.store import Store, Workers

#: Seconds between two times that a worker says it is there: a few may fail before it is missed.
_HEARTBEAT_INTERVAL = 8.0
#: Seconds for which it is not asked again who drains what.
_CACHE_SECONDS = 5.0
#: Seconds that a worker's end may take for it.
_DEREGISTER_TIMEOUT = 5.0

_log = structlog.get_logger()


class WorkerHeartbeat:
    """Says that the worker is there, from a thread of its own, until it is about to stop.

    The first time makes the worker's ``Process``, and with it the sweeper: lines are looked after
    before any message comes, and as soon as a database is there that was away at the start.
    """

    def __init__(self, name: str, queues: frozenset[str]) -> None:
        self._name = name
        self._queues = queues
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def deregister(self) -> None:
        """Be counted on no more: what is sent from now on goes to others."""
        self._stopping.set()

    def wait_until_deregistered(self) -> None:
        """Wait until that is on record, but not for a database that is away."""
        self._stopping.set()
        self._thread.join(_DEREGISTER_TIMEOUT)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._write(lambda workers: workers.register(self._name, self._queues))
            self._stopping.wait(_HEARTBEAT_INTERVAL)
        self._write(lambda workers: workers.deregister(self._name))

    def _write(self, update: Callable[[Workers], None]) -> None:
        try:
            update(runtime.current(settings).store.workers)
        except Exception as error:  # noqa: BLE001  (to say nothing any more would be worse)
            why = str(error) if isinstance(error, ArchonBatchError) else type(error).__name__
            _log.warning("worker_heartbeat_failed", worker=self._name, why=why)


class ConsumedQueues:
    """The queues that living workers drain, looked up now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: frozenset[str] = frozenset()
        self._read_at: float | None = None

    def get(self, store: Store) -> frozenset[str]:
        """The queues, as they were at most ``_FRESH`` seconds ago.

        Raises:
            StoreError: the database cannot be reached.
        """
        with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at > _CACHE_SECONDS:
                self._queues, self._read_at = store.workers.consumed_queues(), time.monotonic()
            return self._queues


consumed_queues = ConsumedQueues()
_heartbeats: list[WorkerHeartbeat] = []


@worker_ready.connect
def _on_worker_ready(sender: object = None, **_: object) -> None:
    # The workers inside a command drain what that command sends, and nothing else.
    if settings.in_process:
        return
    queues = frozenset(map(broker_names.short_name, app.amqp.queues.consume_from))
    _heartbeats.append(WorkerHeartbeat(str(getattr(sender, "hostname", "")), queues))
    if settings.metrics_address is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

        prometheus.serve_metrics(*settings.metrics_address, queues)


@worker_shutting_down.connect
def _on_worker_shutting_down(**_: object) -> None:
    for one in _heartbeats:
        one.deregister()


@worker_shutdown.connect
def _on_worker_shutdown(**_: object) -> None:
    for one in _heartbeats:
        one.wait_until_deregistered()
