"""The tray: answers of other threads to one loop, which is woken once for all that are there."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any


class Slip:
    """A future of the loop that another thread may answer, as one of its own."""

    __slots__ = ("_tray", "future")

    def __init__(self, tray: "Tray") -> None:
        self.future: asyncio.Future[Any] = tray.loop.create_future()
        self._tray = tray

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.future.cancelled()

    def set_result(self, result: object) -> None:
        self._tray.put(self.future, result, None)

    def set_exception(self, error: BaseException) -> None:
        self._tray.put(self.future, None, error)


class Tray:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._answers: deque[tuple[asyncio.Future[Any], object, BaseException | None]] = deque()
        self._told = False

    def slip(self) -> Slip:
        return Slip(self)

    def put(
        self, future: "asyncio.Future[Any]", result: object, error: BaseException | None
    ) -> None:
        self._answers.append((future, result, error))
        if not self._told:
            self._told = True
            # A loop that has closed has nobody who waits.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that what is put from here on is told again.
        self._told = False
        while self._answers:
            future, result, error = self._answers.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
