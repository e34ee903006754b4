"""Completes futures of an event loop from other threads, and wakes the loop once for a batch."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any


class BridgedFuture:
    """A future of the loop with the methods that a worker thread calls on a concurrent future."""

    __slots__ = ("_bridge", "future")

    def __init__(self, bridge: "LoopBridge") -> None:
        self.future: asyncio.Future[Any] = bridge.loop.create_future()
        self._bridge = bridge

    def set_running_or_notify_cancel(self) -> bool:
        """Whether the future is still wanted: False once it was cancelled."""
        return not self.future.cancelled()

    def set_result(self, result: object) -> None:
        self._bridge.complete(self.future, result, None)

    def set_exception(self, error: BaseException) -> None:
        self._bridge.complete(self.future, None, error)


class LoopBridge:
    """Collects results from any thread; create it in the loop that they are for."""

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
            # A closed loop has no task that waits for the result.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that a result that arrives from here on wakes the loop again.
        self._wakeup_scheduled = False
        while self._results:
            future, result, error = self._results.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
