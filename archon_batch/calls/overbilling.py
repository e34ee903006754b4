"""Models that count more than they were asked for: known to all processes of a job, and to people."""

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
        #: What is on record, by job.
        self._recorded: dict[tuple[str, ModelBreaker], Overbilling] = {}

    async def record(self, breaker: ModelBreaker, job: FrozenJob) -> None:
        """Put on record what the model was seen to count, and log it once."""
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
            # In this process it holds all the same.
            _log.warning("overbilling_not_recorded", job=job.id, why=str(error))


def budget_reasons(breakers: Iterable[ModelBreaker], job: FrozenJob) -> Iterator[str]:
    """Why a job's budget is reached."""
    yield "the budget is reached"
    for gate in breakers:
        if gate.overbilling and gate.model in job.prices:
            yield gate.overbilling.describe(gate.model)
