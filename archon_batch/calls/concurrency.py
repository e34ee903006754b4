"""Slots: how many calls of a process are in flight, and which of those that wait goes next."""

import asyncio
from heapq import heappop, heappush

from archon_batch.calls import ModelLimiter, Permit


class Slot:
    """A slot of the process and a permit of the model, given back once."""

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
    """So many at once. Of those that wait the deepest goes first, then whoever came first.

    A call of a later layer ends a row sooner, and what is left for the end of a job are calls that
    have to wait for one another: the fewer rows are between layers then, the shorter its tail.
    """

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        #: By depth, the deepest first, and by their coming.
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    async def acquire_slot(self, limiter: ModelLimiter, tokens: int, layer: int) -> Slot | None:
        """Wait for a place for a call of so many tokens and of that layer; None at the end.

        Raises:
            StoreAwayError: whoever keeps the model's limits is away for long.
        """
        await self.acquire(layer)
        permit = limiter.try_acquire()
        if permit is None:
            # Who waits for a model must not hold a slot that others could use.
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
            # It had been given one in the very moment.
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
