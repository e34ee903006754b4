"""Registers a worker with the queues it consumes, and reads the queues that workers consume."""

import threading
import time
from collections.abc import Callable

import structlog
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from archon_batch.engine import broker_names, runtime
from archon_batch.engine.app import app, settings
from archon_batch.errors import ArchonBatchError
from archon_batch.store import Store, Workers

#: Seconds for which the consumed queues are cached.
_CACHE_SECONDS = 5.0
#: Seconds to wait for deregistration during shutdown.
_DEREGISTER_TIMEOUT = 5.0

_log = structlog.get_logger()


class WorkerHeartbeat:
    """Sends the worker's heartbeat from its own thread until it is about to stop.

    The first heartbeat creates the worker's ``Runtime``, and with it the watchdog: so recovery starts
    before the first message, and as soon as the database is available.
    """

    def __init__(self, name: str, queues: frozenset[str]) -> None:
        self._name = name
        self._queues = queues
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-heartbeat", daemon=True)
        self._thread.start()

    def deregister(self) -> None:
        """Deregister, so that new messages go to other workers."""
        self._stopping.set()

    def wait_until_deregistered(self) -> None:
        """Wait for the deregistration, but not for an unavailable database."""
        self._stopping.set()
        self._thread.join(_DEREGISTER_TIMEOUT)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._write(lambda workers: workers.register(self._name, self._queues))
            self._stopping.wait(settings.timing.worker_heartbeat)
        self._write(lambda workers: workers.deregister(self._name))

    def _write(self, update: Callable[[Workers], None]) -> None:
        try:
            update(runtime.current(settings).store.workers)
        except Exception as error:  # noqa: BLE001  (the next heartbeat must follow)
            why = str(error) if isinstance(error, ArchonBatchError) else type(error).__name__
            _log.warning("worker_heartbeat_failed", worker=self._name, why=why)


class ConsumedQueues:
    """The queues that living workers consume, cached."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: frozenset[str] = frozenset()
        self._read_at: float | None = None

    def get(self, store: Store) -> frozenset[str]:
        """The queues, at most ``_CACHE_SECONDS`` old.

        Raises:
            StoreError: the database is unreachable.
        """
        with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at > _CACHE_SECONDS:
                self._queues, self._read_at = store.workers.consumed_queues(), time.monotonic()
            return self._queues


consumed_queues = ConsumedQueues()
_heartbeats: list[WorkerHeartbeat] = []


@worker_ready.connect
def _on_worker_ready(sender: object = None, **_: object) -> None:
    # Workers inside a command consume only what that command sends.
    if settings.in_process:
        return
    queues = frozenset(map(broker_names.short_name, app.amqp.queues.consume_from))
    _heartbeats.append(WorkerHeartbeat(str(getattr(sender, "hostname", "")), queues))
    if settings.metrics_address is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (the import takes 0.05 s)

        prometheus.serve_metrics(*settings.metrics_address, queues)


@worker_shutting_down.connect
def _on_worker_shutting_down(**_: object) -> None:
    for heartbeat in _heartbeats:
        heartbeat.deregister()


@worker_shutdown.connect
def _on_worker_shutdown(**_: object) -> None:
    for heartbeat in _heartbeats:
        heartbeat.wait_until_deregistered()
