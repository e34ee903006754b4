"""Bounds the calls in flight of a process; calls of later layers go first."""

import asyncio
from heapq import heappop, heappush

from archon_batch.calls.model_limiter import ModelLimiter, Permit


class Slot:
    """A slot of the process and a permit of the model, released once."""

    __slots__ = ("_released", "_semaphore", "limiter", "permit")

    def __init__(self, semaphore: "CallSemaphore", limiter: ModelLimiter, permit: Permit) -> None:
        self.limiter = limiter
        self.permit = permit
        self._semaphore = semaphore
        self._released = False

    def release(self) -> None:
        if not self._released:
            self._released = True
            self.limiter.release(self.permit)
            self._semaphore.release()


class CallSemaphore:
    """A semaphore with priorities: the highest layer first, then first come, first served.

    A call of a later layer finishes a row sooner. At the end of a job, calls of one row wait for
    each other; the fewer rows are half done then, the shorter that tail.
    """

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        #: A heap of (-layer, arrival number, future).
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    async def acquire_slot(self, limiter: ModelLimiter, tokens: int, layer: int) -> Slot | None:
        """Wait for a slot and a permit for a call; None when the process is about to stop.

        Args:
            limiter: of the call's model.
            tokens: to reserve of the model's limit.
            layer: of the call; a higher one goes first.

        Raises:
            StoreUnavailableError: the limit backend stays unavailable.
        """
        await self.acquire(layer)
        permit = limiter.try_acquire()
        if permit is None:
            # While a call waits for its model, calls of other models can use the slot.
            self.release()
            permit = await limiter.acquire(tokens, layer)
            if permit is None:
                return None
            try:
                await self.acquire(layer)
            except BaseException:
                limiter.release(permit)
                raise
        return Slot(self, limiter, permit)

    async def acquire(self, layer: int) -> None:
        if self._free:
            self._free -= 1
            return
        future = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiting, (-layer, self._arrivals, future))
        try:
            await future
        except asyncio.CancelledError:
            # The slot was granted just before the cancellation; return it.
            if future.done() and not future.cancelled():
                self.release()
            raise

    def release(self) -> None:
        while self._waiting:
            future = heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
                return
        self._free += 1
