"""Slots: how many calls of a process are in flight, and which of those that wait goes next."""

import asyncio
from heapq import heappop, heappush

from archon_batch.calls import Line, Permit


class Place:
    """A slot of the process and a permit of the model, given back once."""

    __slots__ = ("_left", "_slots", "line", "permit")

    def __init__(self, slots: "Slots", line: Line, permit: Permit) -> None:
        self.line = line
        self.permit = permit
        self._slots = slots
        self._left = False

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self.line.back(self.permit)
            self._slots.release()


class Slots:
    """So many at once. Of those that wait the deepest goes first, then whoever came first.

    A call of a later layer ends a row sooner, and what is left for the end of a job are calls that
    have to wait for one another: the fewer rows are between layers then, the shorter its tail.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        #: By depth, the deepest first, and by their coming.
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._came = 0

    async def place(self, line: Line, cost: int, depth: int) -> Place | None:
        """Wait for a place for a call of so many tokens and of that layer; None at the end.

        Raises:
            StoreAwayError: whoever keeps the model's limits is away for long.
        """
        await self.acquire(depth)
        permit = line.freely()
        if permit is None:
            # Who waits for a model must not hold a slot that others could use.
            self.release()
            permit = await line.permit(cost, depth)
            if permit is None:
                return None
            try:
                await self.acquire(depth)
            except BaseException:
                line.back(permit)
                raise
        return Place(self, line, permit)

    async def acquire(self, depth: int) -> None:
        if self._free:
            self._free -= 1
            return
        future = asyncio.get_running_loop().create_future()
        self._came += 1
        heappush(self._waiting, (-depth, self._came, future))
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
