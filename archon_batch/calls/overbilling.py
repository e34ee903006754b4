"""Records and logs models that bill more tokens than a call allows."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import structlog

from archon_batch.calls.model_breaker import ModelBreaker
from archon_batch.errors import StoreError
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.store import Store

if TYPE_CHECKING:
    from archon_batch.money import Overbilling

_log = structlog.get_logger()


class OverbillingRecorder:
    def __init__(self, store: Store) -> None:
        self._store = store
        #: What the database has, by job and breaker.
        self._recorded: dict[tuple[str, ModelBreaker], Overbilling] = {}

    async def record(self, breaker: ModelBreaker, job: FrozenJob) -> None:
        """Store what the model billed beyond its calls, and log it once for each job."""
        key, seen = (job.id, breaker), breaker.overbilling
        if seen is None or self._recorded.get(key) == seen:
            return
        if key not in self._recorded:
            why = seen.describe(breaker.model)
            _log.warning("model_overbills", job=job.id, why=why)
        self._recorded[key] = seen
        try:
            await asyncio.to_thread(
                self._store.jobs.record_overbilling, job.id, breaker.model, seen
            )
        except StoreError as error:
            # This process uses it all the same.
            _log.warning("overbilling_not_recorded", job=job.id, why=str(error))


def budget_reasons(breakers: Iterable[ModelBreaker], job: FrozenJob) -> Iterator[str]:
    """Why the job's budget is exhausted."""
    yield "the budget is reached"
    for breaker in breakers:
        if breaker.overbilling and breaker.model in job.prices:
            yield breaker.overbilling.describe(breaker.model)
