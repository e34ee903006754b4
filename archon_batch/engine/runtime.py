"""What one process has one of: the store, the gateway, the loop and the bound on calls."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path

import structlog

from archon_batch.archon import Call
from archon_batch.calls.executor import CallExecutor, CallStatus
from archon_batch.calls.limit_backends import open_limit_backend
from archon_batch.config import component_types
from archon_batch.engine.loop import LoopThread
from archon_batch.engine.open_files import fit_to_open_files
from archon_batch.engine.watchdog import INTERVAL, Watchdog
from archon_batch.errors import ArchonBatchError, StoreError, StoreReplacedError
from archon_batch.jobs.frozen_job import FrozenJob, load_frozen_job
from archon_batch.jobs.shard_step import BatchKeys, Planners
from archon_batch.money import Price
from archon_batch.providers import Provider, ProviderRouter, is_direct
from archon_batch.settings import Settings
from archon_batch.store import Store

#: Seconds between looks of the sweeper.
_WATCHDOG_INTERVAL = INTERVAL

#: New objects after which Python looks for cycles among them, and such looks between wider ones.
_GC_THRESHOLD, _GC_OLDER_THRESHOLD = 20_000, 20

_log = structlog.get_logger()


class Runtime:
    def __init__(self, settings: Settings, provider: Provider | None = None) -> None:
        _tune_garbage_collector()
        self.store = Store.open(settings.database_url, Path(settings.spool_folder))
        try:
            if self.store.high_water_mark is not None:
                # Before anything is paid for again.
                self.store.high_water_mark.check()
            # On record as living before any attempt is.
            self.watchdog = Watchdog(self.store)
            # Attempts of a process that has died would hold their calls back for good.
            self.store.recover()
        except BaseException:
            # It is tried again, and each time would leave connections behind.
            self.store.close()
            raise
        self.keep_alive = self.watchdog.keep_alive
        self._loop = LoopThread()
        self._provider = provider or ProviderRouter(settings.call_timeout)
        self._executor = self._loop.run(self._make_executor(settings))
        self._kinds = component_types()
        #: Calls that a join here has planned, until they are placed here: they are planned once.
        self._planned_calls: dict[tuple[str, int], tuple[Call, ...]] = {}
        #: How far a join here has planned the items under way.
        self.planners: Planners = {}
        self._executing: set[asyncio.Future[list[CallStatus]]] = set()
        #: Why calls were first left open: the database was away for longer than the clerk waits.
        self.store_error: StoreError | None = None
        #: What is done then, once.
        self.on_store_lost: Callable[[], None] = lambda: None
        #: What is done when another database stands in its place.
        self.on_store_replaced: Callable[[], None] = lambda: None
        #: A job's architecture never changes, so it is read once.
        self.job = lru_cache(maxsize=64)(self._load_job)
        self._watchdog_task = self._loop.submit(self._run_watchdog())

    @property
    def stopping(self) -> bool:
        return self._executor.stopping.is_set()

    def execute_calls(self, job: FrozenJob, calls: Sequence[tuple[int, Call]]) -> list[CallStatus]:
        """Place the calls, and wait until each is settled or left open."""
        try:
            return self._loop.run(self._execute_calls(job, calls))
        except StoreError as error:
            with _lock:
                first, self.store_error = self.store_error is None, self.store_error or error
            if first and not self.stopping:
                self.on_store_lost()
            raise

    def remember_calls(self, job_id: str, calls: Mapping[int, tuple[Call, ...]]) -> None:
        """Remember what was planned until a batch takes it."""
        self._planned_calls.update({(job_id, ix): some for ix, some in calls.items()})

    def pop_calls(self, job_id: str, batch: BatchKeys) -> list[tuple[int, Call]] | None:
        """What was planned for the batch; None if not all of it was planned here, or it was taken.

        What has its reply in the meantime is found settled when it is to begin.
        """
        planned = [(ix, keys, self._planned_calls.pop((job_id, ix), ())) for ix, keys in batch]
        if any([str(call.key) for call in calls] != keys for _, keys, calls in planned):
            return None
        return [(ix, call) for ix, _, calls in planned for call in calls]

    def stop(self) -> None:
        """Begin no more calls; those in flight land."""
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
        # Most calls of a batch share a model's one object.
        models = {id(call.model): call.model for _, call in calls}.values()
        if not all(model.is_local or is_direct(model) for model in models):
            await asyncio.to_thread(_import_litellm)
        placing = asyncio.gather(*(self._executor.execute(job, ix, call) for ix, call in calls))
        self._executing.add(placing)
        try:
            return await placing
        finally:
            self._executing.discard(placing)

    async def _run_watchdog(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            looking: asyncio.Task[None] | None = None
            while True:
                await asyncio.sleep(_WATCHDOG_INTERVAL)
                if looking is None or looking.done():
                    looking = tasks.create_task(self._run_safely(self.watchdog.run_once))
                else:
                    # A broker that takes messages and says nothing keeps it. A process whose lease
                    # lapses is taken for dead.
                    await self._run_safely(self.watchdog.heartbeat)

    async def _run_safely(self, action: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(action)
        except StoreReplacedError as error:
            _log.error("database_replaced", why=str(error))
            self.on_store_replaced()
        except ArchonBatchError as error:
            _log.warning("watchdog_failed", why=str(error))
        except Exception:  # noqa: BLE001  (it has to go on)
            _log.exception("watchdog_failed")

    async def _wait_for_calls(self) -> None:
        await asyncio.gather(*self._executing, return_exceptions=True)

    async def _stop(self) -> None:
        self._executor.stopping.set()

    def _load_job(self, job_id: str) -> FrozenJob:
        return load_frozen_job(self.store.jobs.get(job_id), self._kinds)


@cache
def _tune_garbage_collector() -> None:
    """Have Python look for cycles seldom, and never among what the imports made.

    Once: what is frozen again and again, as where a database is away at the start, stays for good.
    By its own settings it looks after each 700 objects, of which a call has hundreds alive while
    it is under way and hardly one in a cycle: that is a fifth of what a call costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, _GC_OLDER_THRESHOLD, _GC_OLDER_THRESHOLD)


def _import_litellm() -> None:
    """Import what live calls need while no attempt is on record.

    It takes seconds and much memory: whoever dies of it, or during it, has sent nothing.
    """
    # If it cannot be imported, each attempt will say so.
    with suppress(Exception):
        import archon_batch.providers.litellm_provider  # noqa: F401, PLC0415


_lock = threading.Lock()
_current: Runtime | None = None


def current(settings: Settings) -> Runtime:
    """The process's own, made when the first task needs it."""
    global _current  # noqa: PLW0603  (a process has one)
    with _lock:
        if _current is None:
            _current = Runtime(settings, _metered_provider(settings))
            # A worker is started again, and says so until somebody has seen to it.
            _current.on_store_replaced = partial(os.kill, os.getpid(), signal.SIGTERM)
        return _current


def _metered_provider(settings: Settings) -> Provider | None:
    """A gateway that Prometheus is told of, where somebody asks for it."""
    if settings.metrics_address is None:
        return None
    from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

    def price_of(job_id: str, call: Call) -> Price | None:
        return None if _current is None else _current.job(job_id).prices[call.model.model]

    return prometheus.MeteredProvider(
        ProviderRouter(settings.call_timeout), prometheus.current_metrics(), price_of
    )


def install(process: Runtime | None) -> None:
    """Make it the process's own, or leave it without one."""
    global _current  # noqa: PLW0603
    with _lock:
        _current = process


def stop() -> None:
    """Have the process's own begin no more calls, if there is one."""
    with _lock:
        if _current is not None:
            _current.stop()
