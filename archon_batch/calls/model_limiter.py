"""The calls of one model in this process that wait until they may be sent."""

import asyncio
from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from archon_batch.calls.model_breaker import loop_time
from archon_batch.calls.seam import LimitBackend
from archon_batch.errors import StoreError, StoreUnavailableError
from archon_batch.rate_limits import (
    MAX_CALLS_PER_REQUEST,
    MAX_LATENESS,
    RENEW_INTERVAL,
    AdaptiveConcurrency,
    LimitGrant,
    LimitRequest,
    RateLimits,
    RemainingLimits,
)
from archon_batch.store import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two exchanges at least: what comes in between shares the next.
_MIN_INTERVAL = 0.2
#: Seconds before a meter is asked again that was away, and before its calls are given up; and for
#: which a process that is about to stop waits for the moment of an attempt that is on record.
_RETRY_INTERVAL, _GIVE_UP_AFTER, _SHUTDOWN_GRACE = 1.0, 60.0, 5.0

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Permit:
    """The right to send one call, at its moment or up to ``LATE`` seconds after."""

    #: In seconds of the loop; None when the model has no pace.
    send_at: float | None = None
    #: Tokens that were reserved, and that the call took, as far as known.
    reserved_tokens: int = 0
    used_tokens: int | None = None
    #: When it was sent.
    sent_at: float | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    #: The layer of its call: of those that wait the deepest goes first, as in ``Slots``.
    layer: int
    #: Its attempt is on record: it goes first, and also when the process is about to stop.
    on_record: bool
    future: "asyncio.Future[Permit | None]"


class ModelLimiter:
    def __init__(
        self,
        key: ModelKey,
        backend: LimitBackend,
        *,
        client_id: str,
        capacity: int,
        stopping: asyncio.Event,
    ) -> None:
        self.key = key
        self.limits = RateLimits()
        self.adaptive_concurrency = AdaptiveConcurrency()
        #: Seconds for which the model is parked.
        self.circuit_open_for: Callable[[], float] = lambda: 0.0
        #: Has the limits read again when they are old.
        self.refresh_limits: Callable[[], None] = lambda: None
        self._backend = backend
        self._client_id = client_id
        #: Calls that this process may have in flight.
        self._capacity = capacity
        self._stopping = stopping
        #: Calls that have a permit.
        self.in_flight = 0
        self._waiting: list[_Waiter] = []
        self._changed = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        #: Tokens to give back, and until when the provider wants nothing.
        self._refund = 0
        self._cooldown_until = 0.0
        #: What the last exchange said.
        self._contested = False
        self._registered = False

    def try_acquire(self) -> Permit | None:
        """A permit, if nothing limits the model now."""
        self.refresh_limits()
        if self.limits or self._waiting or not self._may_send():
            return None
        self.in_flight += 1
        return Permit()

    async def acquire(
        self, tokens: int, layer: int = 0, *, on_record: bool = False
    ) -> Permit | None:
        """Wait for a permit; None when the process is about to stop.

        Raises:
            StoreAwayError: whoever keeps the limits is away for long.
        """
        waiter = _Waiter(tokens, layer, on_record, asyncio.get_running_loop().create_future())
        insort(self._waiting, waiter, key=lambda one: (not one.on_record, -one.layer))
        self._wake()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.future.done() and not waiter.future.cancelled():
                found = waiter.future.result()
                if found is not None:
                    self.release(found)
            raise

    async def wait_to_send(self, permit: Permit, tokens: int) -> None:
        """See to it that a call whose attempt is on record leaves at its moment."""
        while self.limits.is_paced and _is_late(permit):
            # What kept it may have kept many, and together they would be too many.
            self.in_flight -= 1
            try:
                again = await self.acquire(tokens, on_record=True)
            except BaseException:
                self.in_flight += 1
                raise
            if again is not None:
                permit.send_at, permit.reserved_tokens = again.send_at, again.reserved_tokens
        permit.sent_at = loop_time()

    def release(self, permit: Permit) -> None:
        """Take the permit's place back, and what it did not use of its moment and its tokens."""
        self.in_flight -= 1
        if permit.sent_at is not None:
            if permit.used_tokens is not None:
                self._refund += permit.reserved_tokens - permit.used_tokens
        elif not self._reuse_send_time(permit):
            self._refund += permit.reserved_tokens
        if self._waiting and self._may_hand_over():
            self._grant_next(Permit(reserved_tokens=self._waiting[0].tokens))
        self._wake()

    def succeeded(self, remaining: RemainingLimits | None) -> None:
        self.adaptive_concurrency = self.adaptive_concurrency.succeeded(
            self.in_flight, self._capacity
        )
        self._apply_cooldown(remaining)

    def throttled(self, permit: Permit, cooldown: float) -> None:
        """The provider turned a call away, and wants nothing of the model for so many seconds."""
        before = self.adaptive_concurrency.limit
        self.adaptive_concurrency = self.adaptive_concurrency.throttled(
            self.in_flight, permit.sent_at or 0.0, loop_time()
        )
        if before is None and self.adaptive_concurrency.limit is not None:
            _log.info(
                "model_throttled", model=self.key.model, width=int(self.adaptive_concurrency.limit)
            )
        if self.limits and cooldown:
            # Here the breaker sees to it; this is for the other processes.
            self._apply_cooldown(RemainingLimits(requests=0, requests_reset=cooldown))

    async def close(self) -> None:
        """Wait until nothing is held any more, and until that is on record."""
        self._changed.set()
        if self._loop_task is not None:
            await asyncio.gather(self._loop_task, return_exceptions=True)

    def _apply_cooldown(self, remaining: RemainingLimits | None) -> None:
        if remaining is not None and remaining.cooldown:
            self._cooldown_until = max(self._cooldown_until, loop_time() + remaining.cooldown)

    def _may_hand_over(self) -> bool:
        """Whether a place that came free stays in this process."""
        most = self.limits.max_in_flight
        within = most is None or self.in_flight < most
        return within and self._may_send() and not (self.limits.is_paced or self._contested)

    def _may_send(self) -> bool:
        return not (
            self._cooldown_until and self._cooldown_until > loop_time()
        ) and self.adaptive_concurrency.allows(self.in_flight)

    def _grant_next(self, permit: Permit, send_at: float = 0.0) -> None:
        """Let the first that waits go, at the permit's moment or at another."""
        waiter = self._waiting.pop(0)
        self.in_flight += 1
        send_at = permit.send_at or send_at
        if send_at > loop_time():
            asyncio.get_running_loop().call_at(send_at, self._resolve, waiter, permit)
        else:
            self._resolve(waiter, permit)

    def _resolve(self, waiter: _Waiter, permit: Permit) -> None:
        if waiter.future.done():
            self.release(permit)
        else:
            waiter.future.set_result(permit)

    def _reuse_send_time(self, permit: Permit) -> bool:
        """Whether the next one goes at a moment that was not used."""
        if not self._waiting or permit.send_at is None or _is_late(permit):
            return False
        cost = self._waiting[0].tokens
        self._refund += permit.reserved_tokens - cost
        self._grant_next(Permit(permit.send_at, cost))
        return True

    def _wake(self) -> None:
        self._changed.set()
        if self._loop_task is None and (self._waiting or self._must_report):
            self._loop_task = asyncio.create_task(self._run())

    @property
    def _must_report(self) -> bool:
        """Whether there is something that other processes, or an operator, should know."""
        noteworthy = (
            bool(self.limits)
            or self.adaptive_concurrency.limit is not None
            or self.circuit_open_for() > 0
        )
        return self._registered or (noteworthy and self.in_flight > 0)

    async def _run(self) -> None:
        away: float | None = None
        stopping: float | None = None
        try:
            while self._waiting or self._must_report:
                self._changed.clear()
                self.refresh_limits()
                if self._stopping.is_set():
                    stopping = stopping or loop_time()
                    late = loop_time() - stopping > _SHUTDOWN_GRACE
                    self._reject_waiters(
                        StoreUnavailableError("the process stops") if late else None
                    )
                try:
                    pause = await self._serve_waiters()
                except StoreError as error:
                    away = away or loop_time()
                    if loop_time() - away > _GIVE_UP_AFTER:
                        self._reject_waiters(error)
                    if not self._waiting and (self._stopping.is_set() or not self.in_flight):
                        return
                    _log.warning("limits_unreachable", model=self.key.model, why=str(error))
                    pause = _RETRY_INTERVAL
                else:
                    away = None
                if pause:
                    await asyncio.sleep(min(pause, _MIN_INTERVAL))
                    await self._sleep_until_changed(pause - _MIN_INTERVAL)
        except Exception as error:
            self._reject_waiters(StoreError(f"limits: {type(error).__name__}"))
            raise
        finally:
            self._loop_task = None

    async def _sleep_until_changed(self, seconds: float) -> None:
        """Sleep until something changes."""
        try:
            async with asyncio.timeout(min(seconds, _RETRY_INTERVAL)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _reject_waiters(self, error: StoreError | None) -> None:
        """Let those go home whose attempts are not begun; with an error, all."""
        waiting = list(self._waiting)
        self._waiting = [w for w in waiting if w.on_record and error is None]
        for waiter in waiting:
            if waiter in self._waiting or waiter.future.done():
                continue
            if error is None:
                waiter.future.set_result(None)
            else:
                waiter.future.set_exception(StoreUnavailableError(str(error)))

    async def _serve_waiters(self) -> float:
        """Let go whoever may; return the seconds until it is of use to look again."""
        if not self.limits:
            while self._waiting and self._may_send():
                self._grant_next(Permit(reserved_tokens=0))
            if self._must_report:
                await self._exchange([])
            return min(RENEW_INTERVAL, max(_MIN_INTERVAL, self._cooldown_until - loop_time()))
        most = MAX_CALLS_PER_REQUEST
        if self.adaptive_concurrency.limit is not None:
            most = max(0, int(self.adaptive_concurrency.limit) - self.in_flight)
        granted = await self._exchange([waiter.tokens for waiter in self._waiting][:most])
        return (
            RENEW_INTERVAL
            if not granted.ask_again_in
            else max(_MIN_INTERVAL, min(granted.ask_again_in, RENEW_INTERVAL))
        )

    async def _exchange(self, token_costs: list[int]) -> LimitGrant:
        back, self._refund = self._refund, 0
        wish = LimitRequest(
            self._client_id,
            self.in_flight,
            token_costs,
            back,
            max(0.0, self._cooldown_until - loop_time()),
            None
            if self.adaptive_concurrency.limit is None
            else int(self.adaptive_concurrency.limit),
            self.circuit_open_for(),
        )
        try:
            granted = await asyncio.to_thread(self._backend.exchange, self.key, self.limits, wish)
        except BaseException:
            self._refund += back
            raise
        now = loop_time()
        paced = self.limits.is_paced
        for cost, seconds in zip(token_costs, granted.send_delays, strict=False):
            if self._waiting:
                # Who is first now may be another than asked: what was reserved is the permit's.
                self._grant_next(Permit(now + seconds if paced else None, cost), now + seconds)
            else:
                self._refund += cost
        self._contested = granted.contested
        self._registered = wish.in_flight + len(granted.send_delays) > 0 or len(
            granted.send_delays
        ) < len(token_costs)
        return granted


def _is_late(permit: Permit) -> bool:
    return permit.send_at is None or loop_time() > permit.send_at + MAX_LATENESS
