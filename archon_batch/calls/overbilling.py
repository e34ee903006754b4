"""Models that count more than they were asked for: known to all processes of a job, and to people."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import structlog

from archon_batch.calls.model_breaker import Gate
from archon_batch.errors import StoreError
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.store import Store

if TYPE_CHECKING:
    from archon_batch.money import Beyond

_log = structlog.get_logger()


class Excess:
    def __init__(self, store: Store) -> None:
        self._store = store
        #: What is on record, by job.
        self._told: dict[tuple[str, Gate], Beyond] = {}

    async def tell(self, gate: Gate, job: RunningJob) -> None:
        """Put on record what the model was seen to count, and log it once."""
        key, seen = (job.id, gate), gate.beyond
        if seen is None or self._told.get(key) == seen:
            return
        if key not in self._told:
            why = seen.told(gate.model)
            _log.warning("model_exceeds_what_was_asked", job=job.id, why=why)
        self._told[key] = seen
        try:
            await asyncio.to_thread(self._store.jobs.exceeded, job.id, gate.model, seen)
        except StoreError as error:
            # In this process it holds all the same.
            _log.warning("excess_untold", job=job.id, why=str(error))


def reasons(gates: Iterable[Gate], job: RunningJob) -> Iterator[str]:
    """Why a job's budget is reached."""
    yield "the budget is reached"
    for gate in gates:
        if gate.beyond and gate.model in job.prices:
            yield gate.beyond.told(gate.model)
