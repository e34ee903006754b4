"""The lines of a process, one a model, and what limits them now."""

import asyncio
from collections.abc import Iterator

import structlog

from archon_batch.archon import Model
from archon_batch.calls.model_limiter import Line
from archon_batch.calls.seam import Meters
from archon_batch.errors import StoreError
from archon_batch.rate_limits import Limits
from archon_batch.store import ModelKey, Store, me

#: Seconds between two looks at what operators and jobs want.
_EVERY = 2.0

_log = structlog.get_logger()


class Lines:
    def __init__(self, store: Store, meters: Meters, *, room: int, stopping: asyncio.Event) -> None:
        self._store = store
        self._meters = meters
        #: Not the process alone: it may have several of these, one after the other.
        self._holder = f"{me()}:{id(self):x}"
        #: Calls that this process may have in flight.
        self._room = room
        self._stopping = stopping
        self._lines: dict[ModelKey, Line] = {}
        #: The reading that was first after a job came here.
        self._known: dict[str, asyncio.Task[None]] = {}
        self._limits: dict[ModelKey, Limits] = {}
        self._read = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def of(self, model: Model, job_id: str) -> Line:
        """The model's line, which keeps to the limits that the job froze.

        Raises:
            StoreError: they cannot be read.
        """
        key = ModelKey(model.model, model.api_base or "")
        first = self._known.get(job_id)
        if first is None or (first.done() and first.exception()):
            first = self._known[job_id] = asyncio.create_task(self._reread())
        if not first.done():
            await asyncio.shield(first)
        line = self._lines.get(key)
        if line is None:
            line = Line(
                key, self._meters, holder=self._holder, room=self._room, stopping=self._stopping
            )
            line.look = self._look
            line.limits = self._limits.get(key, Limits())
            self._lines[key] = line
        return line

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    async def close(self) -> None:
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        for line in self._lines.values():
            await line.close()
        await asyncio.to_thread(self._meters.close)

    def _look(self) -> None:
        """Have the limits read again if that was long ago, and wait for nothing."""
        if _clock() - self._read < _EVERY:
            return
        self._read = _clock()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._quietly())

    async def _quietly(self) -> None:
        try:
            await self._reread()
        except StoreError as error:
            # Those of before hold.
            _log.warning("limits_not_read", why=str(error))

    async def _reread(self) -> None:
        asked = await asyncio.to_thread(self._store.limits.all)
        self._read = _clock()
        self._limits = {key: one.held_to for key, one in asked.items()}
        for key, line in self._lines.items():
            line.limits = self._limits.get(key, Limits())


def _clock() -> float:
    return asyncio.get_running_loop().time()
