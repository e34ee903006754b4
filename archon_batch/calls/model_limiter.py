"""The calls of one model in this process that wait until they may be sent."""

import asyncio
from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from archon_batch.calls.model_breaker import clock
from archon_batch.calls.seam import Meters
from archon_batch.errors import StoreAwayError, StoreError
from archon_batch.rate_limits import LATE, MOST_WISHES, RENEW, Grant, Headroom, Limits, Width, Wish
from archon_batch.store import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two exchanges at least: what comes in between shares the next.
_SLICE = 0.2
#: Seconds before a meter is asked again that was away, and before its calls are given up; and for
#: which a process that is about to stop waits for the moment of an attempt that is on record.
_AGAIN, _PATIENCE, _LANDING = 1.0, 60.0, 5.0

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Permit:
    """The right to send one call, at its moment or up to ``LATE`` seconds after."""

    #: In seconds of the loop; None when the model has no pace.
    moment: float | None = None
    #: Tokens that were reserved, and that the call took, as far as known.
    cost: int = 0
    used: int | None = None
    #: When it was sent.
    sent: float | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    cost: int
    #: The layer of its call: of those that wait the deepest goes first, as in ``Slots``.
    depth: int
    #: Its attempt is on record: it goes first, and also when the process is about to stop.
    begun: bool
    future: "asyncio.Future[Permit | None]"


class Line:
    def __init__(
        self, key: ModelKey, meters: Meters, *, holder: str, room: int, stopping: asyncio.Event
    ) -> None:
        self.key = key
        self.limits = Limits()
        self.width = Width()
        #: Seconds for which the model is parked.
        self.parked: Callable[[], float] = lambda: 0.0
        #: Has the limits read again when they are old.
        self.look: Callable[[], None] = lambda: None
        self._meters = meters
        self._holder = holder
        #: Calls that this process may have in flight.
        self._room = room
        self._stopping = stopping
        #: Calls that have a permit.
        self.in_flight = 0
        self._waiting: list[_Waiter] = []
        self._changed = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        #: Tokens to give back, and until when the provider wants nothing.
        self._back = 0
        self._rest = 0.0
        #: What the last exchange said.
        self._contested = False
        self._on_record = False

    def freely(self) -> Permit | None:
        """A permit, if nothing limits the model now."""
        self.look()
        if self.limits or self._waiting or not self._lets():
            return None
        self.in_flight += 1
        return Permit()

    async def permit(self, cost: int, depth: int = 0, *, begun: bool = False) -> Permit | None:
        """Wait for a permit; None when the process is about to stop.

        Raises:
            StoreAwayError: whoever keeps the limits is away for long.
        """
        waiter = _Waiter(cost, depth, begun, asyncio.get_running_loop().create_future())
        insort(self._waiting, waiter, key=lambda one: (not one.begun, -one.depth))
        self._wake()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.future.done() and not waiter.future.cancelled():
                found = waiter.future.result()
                if found is not None:
                    self.back(found)
            raise

    async def sends(self, permit: Permit, cost: int) -> None:
        """See to it that a call whose attempt is on record leaves at its moment."""
        while self.limits.paced and _is_late(permit):
            # What kept it may have kept many, and together they would be too many.
            self.in_flight -= 1
            try:
                again = await self.permit(cost, begun=True)
            except BaseException:
                self.in_flight += 1
                raise
            if again is not None:
                permit.moment, permit.cost = again.moment, again.cost
        permit.sent = clock()

    def back(self, permit: Permit) -> None:
        """Take the permit's place back, and what it did not use of its moment and its tokens."""
        self.in_flight -= 1
        if permit.sent is not None:
            if permit.used is not None:
                self._back += permit.cost - permit.used
        elif not self._handed_on(permit):
            self._back += permit.cost
        if self._waiting and self._keeps():
            self._give(Permit(cost=self._waiting[0].cost))
        self._wake()

    def answered(self, headroom: Headroom | None) -> None:
        self.width = self.width.answered(self.in_flight, self._room)
        self._heard(headroom)

    def pushed(self, permit: Permit, wish: float) -> None:
        """The provider turned a call away, and wants nothing of the model for so many seconds."""
        before = self.width.most
        self.width = self.width.pushed(self.in_flight, permit.sent or 0.0, clock())
        if before is None and self.width.most is not None:
            _log.info("model_pushes_back", model=self.key.model, width=int(self.width.most))
        if self.limits and wish:
            # Here the breaker sees to it; this is for the other processes.
            self._heard(Headroom(requests=0, requests_reset=wish))

    async def close(self) -> None:
        """Wait until nothing is held any more, and until that is on record."""
        self._changed.set()
        if self._pump is not None:
            await asyncio.gather(self._pump, return_exceptions=True)

    def _heard(self, headroom: Headroom | None) -> None:
        if headroom is not None and headroom.rest:
            self._rest = max(self._rest, clock() + headroom.rest)

    def _keeps(self) -> bool:
        """Whether a place that came free stays in this process."""
        most = self.limits.max_in_flight
        within = most is None or self.in_flight < most
        return within and self._lets() and not (self.limits.paced or self._contested)

    def _lets(self) -> bool:
        return not (self._rest and self._rest > clock()) and self.width.lets(self.in_flight)

    def _give(self, permit: Permit, at: float = 0.0) -> None:
        """Let the first that waits go, at the permit's moment or at another."""
        waiter = self._waiting.pop(0)
        self.in_flight += 1
        at = permit.moment or at
        if at > clock():
            asyncio.get_running_loop().call_at(at, self._let_go, waiter, permit)
        else:
            self._let_go(waiter, permit)

    def _let_go(self, waiter: _Waiter, permit: Permit) -> None:
        if waiter.future.done():
            self.back(permit)
        else:
            waiter.future.set_result(permit)

    def _handed_on(self, permit: Permit) -> bool:
        """Whether the next one goes at a moment that was not used."""
        if not self._waiting or permit.moment is None or _is_late(permit):
            return False
        cost = self._waiting[0].cost
        self._back += permit.cost - cost
        self._give(Permit(permit.moment, cost))
        return True

    def _wake(self) -> None:
        self._changed.set()
        if self._pump is None and (self._waiting or self._tells):
            self._pump = asyncio.create_task(self._run())

    @property
    def _tells(self) -> bool:
        """Whether there is something that other processes, or an operator, should know."""
        noteworthy = bool(self.limits) or self.width.most is not None or self.parked() > 0
        return self._on_record or (noteworthy and self.in_flight > 0)

    async def _run(self) -> None:
        away: float | None = None
        stopping: float | None = None
        try:
            while self._waiting or self._tells:
                self._changed.clear()
                self.look()
                if self._stopping.is_set():
                    stopping = stopping or clock()
                    late = clock() - stopping > _LANDING
                    self._turn_away(StoreAwayError("the process stops") if late else None)
                try:
                    pause = await self._served()
                except StoreError as error:
                    away = away or clock()
                    if clock() - away > _PATIENCE:
                        self._turn_away(error)
                    if not self._waiting and (self._stopping.is_set() or not self.in_flight):
                        return
                    _log.warning("limits_unreachable", model=self.key.model, why=str(error))
                    pause = _AGAIN
                else:
                    away = None
                if pause:
                    await asyncio.sleep(min(pause, _SLICE))
                    await self._quiet(pause - _SLICE)
        except Exception as error:
            self._turn_away(StoreError(f"limits: {type(error).__name__}"))
            raise
        finally:
            self._pump = None

    async def _quiet(self, seconds: float) -> None:
        """Sleep until something changes."""
        try:
            async with asyncio.timeout(min(seconds, _AGAIN)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _turn_away(self, error: StoreError | None) -> None:
        """Let those go home whose attempts are not begun; with an error, all."""
        waiting = list(self._waiting)
        self._waiting = [w for w in waiting if w.begun and error is None]
        for waiter in waiting:
            if waiter in self._waiting or waiter.future.done():
                continue
            if error is None:
                waiter.future.set_result(None)
            else:
                waiter.future.set_exception(StoreAwayError(str(error)))

    async def _served(self) -> float:
        """Let go whoever may; return the seconds until it is of use to look again."""
        if not self.limits:
            while self._waiting and self._lets():
                self._give(Permit(cost=0))
            if self._tells:
                await self._exchange([])
            return min(RENEW, max(_SLICE, self._rest - clock()))
        most = MOST_WISHES
        if self.width.most is not None:
            most = max(0, int(self.width.most) - self.in_flight)
        granted = await self._exchange([waiter.cost for waiter in self._waiting][:most])
        return RENEW if not granted.wait else max(_SLICE, min(granted.wait, RENEW))

    async def _exchange(self, costs: list[int]) -> Grant:
        back, self._back = self._back, 0
        wish = Wish(
            self._holder,
            self.in_flight,
            costs,
            back,
            max(0.0, self._rest - clock()),
            None if self.width.most is None else int(self.width.most),
            self.parked(),
        )
        try:
            granted = await asyncio.to_thread(self._meters.exchange, self.key, self.limits, wish)
        except BaseException:
            self._back += back
            raise
        now = clock()
        paced = self.limits.paced
        for cost, seconds in zip(costs, granted.moments, strict=False):
            if self._waiting:
                # Who is first now may be another than asked: what was reserved is the permit's.
                self._give(Permit(now + seconds if paced else None, cost), now + seconds)
            else:
                self._back += cost
        self._contested = granted.contested
        self._on_record = wish.held + len(granted.moments) > 0 or len(granted.moments) < len(costs)
        return granted


def _is_late(permit: Permit) -> bool:
    return permit.moment is None or clock() > permit.moment + LATE
