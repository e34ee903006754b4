"""The lines of a process, one a model, and what limits them now."""

import asyncio
from collections.abc import Iterator

import structlog

from archon_batch.archon import Model
from archon_batch.calls.model_limiter import ModelLimiter
from archon_batch.calls.seam import LimitBackend
from archon_batch.errors import StoreError
from archon_batch.rate_limits import RateLimits
from archon_batch.store import ModelKey, Store, current_process_id

#: Seconds between two looks at what operators and jobs want.
_REFRESH_INTERVAL = 2.0

_log = structlog.get_logger()


class ModelLimiters:
    def __init__(
        self, store: Store, backend: LimitBackend, *, capacity: int, stopping: asyncio.Event
    ) -> None:
        self._store = store
        self._backend = backend
        #: Not the process alone: it may have several of these, one after the other.
        self._client_id = f"{current_process_id()}:{id(self):x}"
        #: Calls that this process may have in flight.
        self._capacity = capacity
        self._stopping = stopping
        self._limiters: dict[ModelKey, ModelLimiter] = {}
        #: The reading that was first after a job came here.
        self._first_reads: dict[str, asyncio.Task[None]] = {}
        self._limits: dict[ModelKey, RateLimits] = {}
        self._read_at = 0.0
        self._refresh_task: asyncio.Task[None] | None = None

    async def limiter_for(self, model: Model, job_id: str) -> ModelLimiter:
        """The model's line, which keeps to the limits that the job froze.

        Raises:
            StoreError: they cannot be read.
        """
        key = ModelKey(model.model, model.api_base or "")
        first = self._first_reads.get(job_id)
        if first is None or (first.done() and first.exception()):
            first = self._first_reads[job_id] = asyncio.create_task(self._refresh())
        if not first.done():
            await asyncio.shield(first)
        line = self._limiters.get(key)
        if line is None:
            line = ModelLimiter(
                key,
                self._backend,
                client_id=self._client_id,
                capacity=self._capacity,
                stopping=self._stopping,
            )
            line.refresh_limits = self._refresh_if_old
            line.limits = self._limits.get(key, RateLimits())
            self._limiters[key] = line
        return line

    def __iter__(self) -> Iterator[ModelLimiter]:
        return iter(self._limiters.values())

    async def close(self) -> None:
        if self._refresh_task is not None:
            await asyncio.gather(self._refresh_task, return_exceptions=True)
        for line in self._limiters.values():
            await line.close()
        await asyncio.to_thread(self._backend.close)

    def _refresh_if_old(self) -> None:
        """Have the limits read again if that was long ago, and wait for nothing."""
        if _clock() - self._read_at < _REFRESH_INTERVAL:
            return
        self._read_at = _clock()
        if self._refresh_task is None or self._refresh_task.done():
            self._refresh_task = asyncio.create_task(self._refresh_quietly())

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except StoreError as error:
            # Those of before hold.
            _log.warning("limits_refresh_failed", why=str(error))

    async def _refresh(self) -> None:
        asked = await asyncio.to_thread(self._store.rate_limits.all)
        self._read_at = _clock()
        self._limits = {key: one.effective for key, one in asked.items()}
        for key, line in self._limiters.items():
            line.limits = self._limits.get(key, RateLimits())


def _clock() -> float:
    return asyncio.get_running_loop().time()
