"""The rate limiters of a process, one for each model, with their limits kept up to date."""

import asyncio

import structlog

from archon_batch.archon import Model
from archon_batch.calls.limit_backends import LimitBackend
from archon_batch.calls.model_breaker import loop_time
from archon_batch.calls.model_limiter import ModelLimiter
from archon_batch.errors import StoreError
from archon_batch.rate_limits import RateLimits
from archon_batch.store import ModelKey, Store, current_process_id

#: Seconds between two reads of the limits that jobs and operators have set.
_REFRESH_INTERVAL = 2.0

_log = structlog.get_logger()


class ModelLimiters:
    def __init__(
        self, store: Store, backend: LimitBackend, *, capacity: int, stopping: asyncio.Event
    ) -> None:
        self._store = store
        self._backend = backend
        # One process may create several, one after the other.
        self._client_id = f"{current_process_id()}:{id(self):x}"
        #: Calls that this process may have in flight.
        self._capacity = capacity
        self._stopping = stopping
        self._limiters: dict[ModelKey, ModelLimiter] = {}
        #: By job: the first read of the limits after its first call.
        self._first_reads: dict[str, asyncio.Task[None]] = {}
        self._limits: dict[ModelKey, RateLimits] = {}
        self._read_at = 0.0
        self._refresh_task: asyncio.Task[None] | None = None

    async def limiter_for(self, model: Model, job_id: str) -> ModelLimiter:
        """The model's limiter, with the limits of the job (and all other running jobs) applied.

        Raises:
            StoreError: the limits cannot be read.
        """
        key = ModelKey(model.model, model.api_base or "")
        first = self._first_reads.get(job_id)
        if first is None or (first.done() and first.exception()):
            first = self._first_reads[job_id] = asyncio.create_task(self._refresh())
        if not first.done():
            await asyncio.shield(first)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = ModelLimiter(
                key,
                self._backend,
                client_id=self._client_id,
                capacity=self._capacity,
                stopping=self._stopping,
            )
            limiter.refresh_limits = self._refresh_if_old
            limiter.limits = self._limits.get(key, RateLimits())
            self._limiters[key] = limiter
        return limiter

    async def close(self) -> None:
        if self._refresh_task is not None:
            await asyncio.gather(self._refresh_task, return_exceptions=True)
        for limiter in self._limiters.values():
            await limiter.close()
        await asyncio.to_thread(self._backend.close)

    def _refresh_if_old(self) -> None:
        """Start a refresh in the background if the last one is old."""
        if loop_time() - self._read_at < _REFRESH_INTERVAL:
            return
        self._read_at = loop_time()
        if self._refresh_task is None or self._refresh_task.done():
            self._refresh_task = asyncio.create_task(self._refresh_quietly())

    async def _refresh_quietly(self) -> None:
        try:
            await self._refresh()
        except StoreError as error:
            # The previous limits stay in force.
            _log.warning("limits_refresh_failed", why=str(error))

    async def _refresh(self) -> None:
        configured = await asyncio.to_thread(self._store.rate_limits.all)
        self._read_at = loop_time()
        self._limits = {key: limits.effective for key, limits in configured.items()}
        for key, limiter in self._limiters.items():
            limiter.limits = self._limits.get(key, RateLimits())
