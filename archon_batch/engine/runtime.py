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
from archon_batch.calls import meters
from archon_batch.calls.executor import End, Placer
from archon_batch.config import component_kinds
from archon_batch.engine.loop import Loop
from archon_batch.engine.open_files import fitting
from archon_batch.engine.watchdog import LOOK, Sweeper
from archon_batch.errors import ArchonBatchError, StoreError, StoreGoneError
from archon_batch.jobs.frozen_job import RunningJob, running
from archon_batch.jobs.shard_step import Batch, Courses
from archon_batch.money import Price
from archon_batch.providers import Gateway, Router, is_direct
from archon_batch.settings import Settings
from archon_batch.store import Store

#: Seconds between looks of the sweeper.
_HOUSEKEEPING = LOOK

#: New objects after which Python looks for cycles among them, and such looks between wider ones.
_YOUNG, _OLDER = 20_000, 20

_log = structlog.get_logger()


class Process:
    def __init__(self, settings: Settings, gateway: Gateway | None = None) -> None:
        _collect_seldom()
        self.store = Store.open(settings.database_url, Path(settings.spool))
        try:
            if self.store.witness is not None:
                # Before anything is paid for again.
                self.store.witness.check()
            # On record as living before any attempt is.
            self.sweeper = Sweeper(self.store)
            # Attempts of a process that has died would hold their calls back for good.
            self.store.recover()
        except BaseException:
            # It is tried again, and each time would leave connections behind.
            self.store.close()
            raise
        self.holding = self.sweeper.holding
        self._loop = Loop()
        self._gateway = gateway or Router(settings.call_timeout)
        self._placer = self._loop.run(self._make_placer(settings))
        self._kinds = component_kinds()
        #: Calls that a join here has planned, until they are placed here: they are planned once.
        self._planned: dict[tuple[str, int], tuple[Call, ...]] = {}
        #: How far a join here has planned the items under way.
        self.courses: Courses = {}
        self._placing: set[asyncio.Future[list[End]]] = set()
        #: Why calls were first left open: the database was away for longer than the clerk waits.
        self.away: StoreError | None = None
        #: What is done then, once.
        self.when_away: Callable[[], None] = lambda: None
        #: What is done when another database stands in its place.
        self.when_gone: Callable[[], None] = lambda: None
        #: A job's architecture never changes, so it is read once.
        self.job = lru_cache(maxsize=64)(self._job)
        self._housekeeping = self._loop.begin(self._keep_house())

    @property
    def stopping(self) -> bool:
        return self._placer.stopping.is_set()

    def place(self, job: RunningJob, calls: Sequence[tuple[int, Call]]) -> list[End]:
        """Place the calls, and wait until each is settled or left open."""
        try:
            return self._loop.run(self._place(job, calls))
        except StoreError as error:
            with _lock:
                first, self.away = self.away is None, self.away or error
            if first and not self.stopping:
                self.when_away()
            raise

    def keep(self, job_id: str, calls: Mapping[int, tuple[Call, ...]]) -> None:
        """Remember what was planned until a batch takes it."""
        self._planned.update({(job_id, ix): some for ix, some in calls.items()})

    def take(self, job_id: str, batch: Batch) -> list[tuple[int, Call]] | None:
        """What was planned for the batch; None if not all of it was planned here, or it was taken.

        What has its reply in the meantime is found settled when it is to begin.
        """
        planned = [(ix, keys, self._planned.pop((job_id, ix), ())) for ix, keys in batch]
        if any([str(call.key) for call in calls] != keys for _, keys, calls in planned):
            return None
        return [(ix, call) for ix, _, calls in planned for call in calls]

    def stop(self) -> None:
        """Begin no more calls; those in flight land."""
        self._loop.run(self._stop())

    def close(self) -> None:
        self.stop()
        self._housekeeping.cancel()
        self._loop.run(self._landed())
        self._loop.run(self._placer.close())
        self._loop.run(self._gateway.close())
        self._loop.close()
        with suppress(StoreError):
            self.sweeper.close()
        self.store.close()

    async def _make_placer(self, settings: Settings) -> Placer:
        return Placer(
            self.store,
            self._gateway,
            max_in_flight=fitting(settings.max_in_flight),
            timeout=settings.call_timeout,
            meters=meters(self.store, settings.result_url, settings.broker_url),
        )

    async def _place(self, job: RunningJob, calls: Sequence[tuple[int, Call]]) -> list[End]:
        # Most calls of a batch share a model's one object.
        models = {id(call.model): call.model for _, call in calls}.values()
        if not all(model.is_here or is_direct(model) for model in models):
            await asyncio.to_thread(_load)
        placing = asyncio.gather(*(self._placer.place(job, ix, call) for ix, call in calls))
        self._placing.add(placing)
        try:
            return await placing
        finally:
            self._placing.discard(placing)

    async def _keep_house(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            looking: asyncio.Task[None] | None = None
            while True:
                await asyncio.sleep(_HOUSEKEEPING)
                if looking is None or looking.done():
                    looking = tasks.create_task(self._looked(self.sweeper.look))
                else:
                    # A broker that takes messages and says nothing keeps it. A process whose lease
                    # lapses is taken for dead.
                    await self._looked(self.sweeper.live)

    async def _looked(self, look: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(look)
        except StoreGoneError as error:
            _log.error("database_gone", why=str(error))
            self.when_gone()
        except ArchonBatchError as error:
            _log.warning("housekeeping_failed", why=str(error))
        except Exception:  # noqa: BLE001  (it has to go on)
            _log.exception("housekeeping_failed")

    async def _landed(self) -> None:
        await asyncio.gather(*self._placing, return_exceptions=True)

    async def _stop(self) -> None:
        self._placer.stopping.set()

    def _job(self, job_id: str) -> RunningJob:
        return running(self.store.jobs.get(job_id), self._kinds)


@cache
def _collect_seldom() -> None:
    """Have Python look for cycles seldom, and never among what the imports made.

    Once: what is frozen again and again, as where a database is away at the start, stays for good.
    By its own settings it looks after each 700 objects, of which a call has hundreds alive while
    it is under way and hardly one in a cycle: that is a fifth of what a call costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDER)


def _load() -> None:
    """Import what live calls need while no attempt is on record.

    It takes seconds and much memory: whoever dies of it, or during it, has sent nothing.
    """
    # If it cannot be imported, each attempt will say so.
    with suppress(Exception):
        import archon_batch.providers.litellm_provider  # noqa: F401, PLC0415


_lock = threading.Lock()
_current: Process | None = None


def current(settings: Settings) -> Process:
    """The process's own, made when the first task needs it."""
    global _current  # noqa: PLW0603  (a process has one)
    with _lock:
        if _current is None:
            _current = Process(settings, _counted(settings))
            # A worker is started again, and says so until somebody has seen to it.
            _current.when_gone = partial(os.kill, os.getpid(), signal.SIGTERM)
        return _current


def _counted(settings: Settings) -> Gateway | None:
    """A gateway that Prometheus is told of, where somebody asks for it."""
    if settings.metrics is None:
        return None
    from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

    def price_of(job_id: str, call: Call) -> Price | None:
        return None if _current is None else _current.job(job_id).prices[call.model.model]

    return prometheus.Counted(Router(settings.call_timeout), prometheus.current(), price_of)


def install(process: Process | None) -> None:
    """Make it the process's own, or leave it without one."""
    global _current  # noqa: PLW0603
    with _lock:
        _current = process


def stop() -> None:
    """Have the process's own begin no more calls, if there is one."""
    with _lock:
        if _current is not None:
            _current.stop()
