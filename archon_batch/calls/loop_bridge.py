"""The tray: answers of other threads to one loop, which is woken once for all that are there."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any


class BridgedFuture:
    """A future of the loop that another thread may answer, as one of its own."""

    __slots__ = ("_bridge", "future")

    def __init__(self, bridge: "LoopBridge") -> None:
        self.future: asyncio.Future[Any] = bridge.loop.create_future()
        self._bridge = bridge

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.future.cancelled()

    def set_result(self, result: object) -> None:
        self._bridge.complete(self.future, result, None)

    def set_exception(self, error: BaseException) -> None:
        self._bridge.complete(self.future, None, error)


class LoopBridge:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._results: deque[tuple[asyncio.Future[Any], object, BaseException | None]] = deque()
        self._wakeup_scheduled = False

    def create_future(self) -> BridgedFuture:
        return BridgedFuture(self)

    def complete(
        self, future: "asyncio.Future[Any]", result: object, error: BaseException | None
    ) -> None:
        self._results.append((future, result, error))
        if not self._wakeup_scheduled:
            self._wakeup_scheduled = True
            # A loop that has closed has nobody who waits.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that what is put from here on is told again.
        self._wakeup_scheduled = False
        while self._results:
            future, result, error = self._results.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
