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
_SAY = 8.0
#: Seconds for which it is not asked again who drains what.
_FRESH = 5.0
#: Seconds that a worker's end may take for it.
_LAST_WORD = 5.0

_log = structlog.get_logger()


class Presence:
    """Says that the worker is there, from a thread of its own, until it is about to stop.

    The first time makes the worker's ``Process``, and with it the sweeper: lines are looked after
    before any message comes, and as soon as a database is there that was away at the start.
    """

    def __init__(self, name: str, queues: frozenset[str]) -> None:
        self._name = name
        self._queues = queues
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="presence", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Be counted on no more: what is sent from now on goes to others."""
        self._leaving.set()

    def gone(self) -> None:
        """Wait until that is on record, but not for a database that is away."""
        self._leaving.set()
        self._thread.join(_LAST_WORD)

    def _stay(self) -> None:
        while not self._leaving.is_set():
            self._tell(lambda workers: workers.here(self._name, self._queues))
            self._leaving.wait(_SAY)
        self._tell(lambda workers: workers.gone(self._name))

    def _tell(self, what: Callable[[Workers], None]) -> None:
        try:
            what(runtime.current(settings).store.workers)
        except Exception as error:  # noqa: BLE001  (to say nothing any more would be worse)
            why = str(error) if isinstance(error, ArchonBatchError) else type(error).__name__
            _log.warning("presence_untold", worker=self._name, why=why)


class Drained:
    """The queues that living workers drain, looked up now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: frozenset[str] = frozenset()
        self._looked: float | None = None

    def by(self, store: Store) -> frozenset[str]:
        """The queues, as they were at most ``_FRESH`` seconds ago.

        Raises:
            StoreError: the database cannot be reached.
        """
        with self._lock:
            if self._looked is None or time.monotonic() - self._looked > _FRESH:
                self._found, self._looked = store.workers.drained(), time.monotonic()
            return self._found


drained = Drained()
_present: list[Presence] = []


@worker_ready.connect
def _arrive(sender: object = None, **_: object) -> None:
    # The workers inside a command drain what that command sends, and nothing else.
    if settings.embedded:
        return
    queues = frozenset(map(broker_names.short, app.amqp.queues.consume_from))
    _present.append(Presence(str(getattr(sender, "hostname", "")), queues))
    if settings.metrics is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

        prometheus.serve(*settings.metrics, queues)


@worker_shutting_down.connect
def _leave(**_: object) -> None:
    for one in _present:
        one.leave()


@worker_shutdown.connect
def _go(**_: object) -> None:
    for one in _present:
        one.gone()
