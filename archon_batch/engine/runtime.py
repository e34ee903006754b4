"""What a process has once: the store, the provider, the event loop, the executor and the watchdog."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from archon_batch.archon import Call, CallKey
from archon_batch.calls.executor import CallExecutor, CallStatus
from archon_batch.calls.limit_backends import open_limit_backend
from archon_batch.config import component_types
from archon_batch.engine.open_files import fit_to_open_files
from archon_batch.engine.watchdog import Watchdog
from archon_batch.errors import ArchonBatchError, StoreError, StoreReplacedError
from archon_batch.jobs.frozen_job import FrozenJob, load_frozen_job
from archon_batch.jobs.shard_step import BatchKeys, Planners
from archon_batch.money import Price
from archon_batch.providers import Provider, ProviderRouter, is_direct
from archon_batch.settings import Settings
from archon_batch.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

#: New objects per collection of Python's youngest generation, and collections per older one.
_GC_THRESHOLD, _GC_OLDER_THRESHOLD = 20_000, 20

_log = structlog.get_logger()


class LoopThread:
    """The one event loop of a process, in its own thread; all tasks run their calls on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="calls", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop, and wait for its result."""
        return self.submit(coroutine).result()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Runtime:
    def __init__(self, settings: Settings, provider: Provider | None = None) -> None:
        _tune_garbage_collector()
        self.store = Store.open(settings.database_url, Path(settings.spool_folder))
        try:
            if self.store.high_water_mark is not None:
                # Detect an older copy of the database before anything is paid twice.
                self.store.high_water_mark.check()
            # The process has its lease before its first attempt.
            self.watchdog = Watchdog(self.store, settings.timing)
            # Attempts of dead processes would block their calls for ever.
            self.store.recover()
        except BaseException:
            # The caller retries; an open store would leak its connections each time.
            self.store.close()
            raise
        self.keep_alive = self.watchdog.keep_alive
        self._loop = LoopThread()
        self._provider = provider or ProviderRouter(settings.call_timeout)
        self._executor = self._loop.run(self._make_executor(settings))
        self._kinds = component_types()
        #: Planners of open items, where this process plans every round.
        self.planners: Planners = {}
        self._executing: set[asyncio.Future[list[CallStatus]]] = set()
        #: The first error that left calls open: the database stayed unavailable.
        self.store_error: StoreError | None = None
        #: Called once, after that error.
        self.on_store_lost: Callable[[], None] = lambda: None
        #: Called when another database stands at the address.
        self.on_store_replaced: Callable[[], None] = lambda: None
        #: Cached: a job's architecture never changes.
        self.job = lru_cache(maxsize=64)(self._load_job)
        self._watchdog_task = self._loop.submit(
            self._run_watchdog(settings.timing.watchdog_interval)
        )

    @property
    def stopping(self) -> bool:
        return self._executor.stopping.is_set()

    def execute_calls(self, job: FrozenJob, calls: Sequence[tuple[int, Call]]) -> list[CallStatus]:
        """Execute the calls, and wait until each is settled or left open."""
        try:
            return self._loop.run(self._execute_calls(job, calls))
        except StoreError as error:
            with _lock:
                first, self.store_error = self.store_error is None, self.store_error or error
            if first and not self.stopping:
                self.on_store_lost()
            raise

    def take_pending_calls(self, job_id: str, batch: BatchKeys) -> list[tuple[int, Call]] | None:
        """The calls of the batch, if this process has planned all of them; None otherwise.

        A call is returned once. It may have been settled since; the executor finds that out.
        """
        calls: list[tuple[int, Call]] = []
        for ix, keys in batch:
            planner = self.planners.get((job_id, ix))
            pending = planner and planner.take_pending_calls([CallKey.parse(key) for key in keys])
            if not pending:
                return None
            calls += [(ix, call) for call in pending]
        return calls

    def stop(self) -> None:
        """Start no more calls; calls in flight finish."""
        self._loop.run(self._stop())

    def close(self) -> None:
        self.stop()
        self._watchdog_task.cancel()
        self._loop.run(self._wait_for_calls())
        self._loop.run(self._executor.close())
        self._loop.run(self._provider.close())
        self._loop.close()
        with suppress(StoreError):
            self.watchdog.close()
        self.store.close()

    async def _make_executor(self, settings: Settings) -> CallExecutor:
        return CallExecutor(
            self.store,
            self._provider,
            max_in_flight=fit_to_open_files(settings.max_in_flight),
            timeout=settings.call_timeout,
            limit_backend=open_limit_backend(self.store, settings.result_url, settings.broker_url),
        )

    async def _execute_calls(
        self, job: FrozenJob, calls: Sequence[tuple[int, Call]]
    ) -> list[CallStatus]:
        # By identity: most calls of a batch share one model object.
        models = {id(call.model): call.model for _, call in calls}.values()
        if not all(model.is_local or is_direct(model) for model in models):
            await asyncio.to_thread(_import_litellm)
        executing = asyncio.gather(*(self._executor.execute(job, ix, call) for ix, call in calls))
        self._executing.add(executing)
        try:
            return await executing
        finally:
            self._executing.discard(executing)

    async def _run_watchdog(self, interval: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            run: asyncio.Task[None] | None = None
            while True:
                await asyncio.sleep(interval)
                if run is None or run.done():
                    run = tasks.create_task(self._run_safely(self.watchdog.run_once))
                else:
                    # A broker that accepts messages and never answers blocks the run. The lease must
                    # be renewed all the same, or other processes declare this one dead.
                    await self._run_safely(self.watchdog.heartbeat)

    async def _run_safely(self, action: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(action)
        except StoreReplacedError as error:
            _log.error("database_replaced", why=str(error))
            self.on_store_replaced()
        except ArchonBatchError as error:
            _log.warning("watchdog_failed", why=str(error))
        except Exception:  # noqa: BLE001  (the watchdog must keep running)
            _log.exception("watchdog_failed")

    async def _wait_for_calls(self) -> None:
        await asyncio.gather(*self._executing, return_exceptions=True)

    async def _stop(self) -> None:
        self._executor.stopping.set()

    def _load_job(self, job_id: str) -> FrozenJob:
        return load_frozen_job(self.store.jobs.get(job_id), self._kinds)


@cache
def _tune_garbage_collector() -> None:
    """Run the garbage collector rarely, and exclude objects created at import.

    Python's default runs it after every 700 new objects. A call has hundreds alive and hardly one in
    a cycle, so that took a fifth of a call's CPU. Cached: freezing again would leak the objects of
    each retry while the database is unavailable.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, _GC_OLDER_THRESHOLD, _GC_OLDER_THRESHOLD)


def _import_litellm() -> None:
    """Import litellm before any attempt is recorded.

    The import takes seconds and much memory; a process that dies in it has sent nothing.
    """
    # If the import fails, each attempt reports it.
    with suppress(Exception):
        import archon_batch.providers.litellm_provider  # noqa: F401, PLC0415


_lock = threading.Lock()
_current: Runtime | None = None


def current(settings: Settings) -> Runtime:
    """The runtime of this process, created for the first task."""
    global _current  # noqa: PLW0603  (one for each process)
    with _lock:
        if _current is None:
            _current = Runtime(settings, _metered_provider(settings))
            # The supervisor restarts the worker, which fails until an operator has looked at it.
            _current.on_store_replaced = partial(os.kill, os.getpid(), signal.SIGTERM)
        return _current


def _metered_provider(settings: Settings) -> Provider | None:
    """A provider that counts its calls, if Prometheus metrics are on."""
    if settings.metrics_address is None:
        return None
    from archon_batch.engine import prometheus  # noqa: PLC0415  (the import takes 0.05 s)

    def price_of(job_id: str, call: Call) -> Price | None:
        return None if _current is None else _current.job(job_id).prices[call.model.model]

    return prometheus.MeteredProvider(
        ProviderRouter(settings.call_timeout), prometheus.current_metrics(), price_of
    )


def install(runtime: Runtime | None) -> None:
    """Set or clear the runtime of this process."""
    global _current  # noqa: PLW0603
    with _lock:
        _current = runtime


def stop() -> None:
    """Start no more calls in this process."""
    with _lock:
        if _current is not None:
            _current.stop()
