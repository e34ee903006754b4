"""The rate limiter of one model in this process: calls wait here until they may be sent.

A background task exchanges state with the limit backend while calls wait, and while the model has
something that other processes or an operator must know. It ends when neither is the case.
"""

import asyncio
from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from archon_batch.calls.limit_backends import LimitBackend
from archon_batch.calls.model_breaker import loop_time
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

#: Least seconds between two exchanges with the backend; calls that arrive in between share the next.
_MIN_INTERVAL = 0.2
#: Seconds between retries while the backend is unavailable, and until waiting calls fail.
_RETRY_INTERVAL, _GIVE_UP_AFTER = 1.0, 60.0
#: Seconds that a stopping process lets a recorded attempt wait for its permit.
_SHUTDOWN_GRACE = 5.0

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Permit:
    """The right to send one call, at ``send_at`` or up to ``MAX_LATENESS`` seconds later."""

    #: In seconds of the loop's clock; None when the model has no rate limit.
    send_at: float | None = None
    #: Tokens that were reserved, and tokens that the call used, if known.
    reserved_tokens: int = 0
    used_tokens: int | None = None
    #: When the call was sent.
    sent_at: float | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    #: Calls of later layers go first, as in ``CallSemaphore``.
    layer: int
    #: Its attempt is in the database: it goes first, even while the process stops.
    is_recorded: bool
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
        #: Seconds for which the model's circuit stays open.
        self.circuit_open_for: Callable[[], float] = lambda: 0.0
        #: Starts a read of the limits when they are old.
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
        self._task: asyncio.Task[None] | None = None
        #: Tokens to give back with the next exchange.
        self._refund = 0
        #: Until when the provider asked for no requests.
        self._cooldown_until = 0.0
        #: From the last exchange: another process waits, and the backend lists this process.
        self._contested = False
        self._registered = False

    def try_acquire(self) -> Permit | None:
        """A permit, if nothing limits the model at present."""
        self.refresh_limits()
        if self.limits or self._waiting or not self._may_send():
            return None
        self.in_flight += 1
        return Permit()

    async def acquire(
        self, tokens: int, layer: int = 0, *, is_recorded: bool = False
    ) -> Permit | None:
        """Wait for a permit; None when the process is about to stop.

        Raises:
            StoreUnavailableError: the backend stays unavailable.
        """
        waiter = _Waiter(tokens, layer, is_recorded, asyncio.get_running_loop().create_future())
        insort(self._waiting, waiter, key=lambda one: (not one.is_recorded, -one.layer))
        self._wake()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.future.done() and not waiter.future.cancelled():
                permit = waiter.future.result()
                if permit is not None:
                    self.release(permit)
            raise

    async def wait_to_send(self, permit: Permit, tokens: int) -> None:
        """Return when the recorded call may be sent; get a new permit if this one is too old."""
        while self.limits.is_paced and _is_late(permit):
            # What delayed this call may have delayed many, and sent together they exceed the rate.
            self.in_flight -= 1
            try:
                again = await self.acquire(tokens, is_recorded=True)
            except BaseException:
                self.in_flight += 1
                raise
            if again is not None:
                permit.send_at, permit.reserved_tokens = again.send_at, again.reserved_tokens
        permit.sent_at = loop_time()

    def release(self, permit: Permit) -> None:
        """Take the permit back, and refund the tokens or the send time that it did not use."""
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
        """The provider rejected a call for its rate, and asked for ``cooldown`` seconds of rest."""
        before = self.adaptive_concurrency.limit
        self.adaptive_concurrency = self.adaptive_concurrency.throttled(
            self.in_flight, permit.sent_at or 0.0, loop_time()
        )
        limit = self.adaptive_concurrency.limit
        if before is None and limit is not None:
            _log.info("model_throttled", model=self.key.model, limit=int(limit))
        if self.limits and cooldown:
            # In this process the circuit breaker waits; other processes learn it from the backend.
            self._apply_cooldown(RemainingLimits(requests=0, requests_reset=cooldown))

    async def close(self) -> None:
        """Wait until every permit was released, and the backend knows it."""
        self._changed.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _apply_cooldown(self, remaining: RemainingLimits | None) -> None:
        if remaining is not None and remaining.cooldown:
            self._cooldown_until = max(self._cooldown_until, loop_time() + remaining.cooldown)

    def _may_hand_over(self) -> bool:
        """Whether the next call of this process may go without asking the backend."""
        most = self.limits.max_in_flight
        has_room = most is None or self.in_flight < most
        return has_room and self._may_send() and not (self.limits.is_paced or self._contested)

    def _may_send(self) -> bool:
        cools_down = self._cooldown_until > 0 and self._cooldown_until > loop_time()
        return not cools_down and self.adaptive_concurrency.allows(self.in_flight)

    def _grant_next(self, permit: Permit, send_at: float = 0.0) -> None:
        """Give the first waiter its permit at the permit's time, else at ``send_at``."""
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
        """Pass an unused send time to the next waiter; return whether that was possible."""
        if not self._waiting or permit.send_at is None or _is_late(permit):
            return False
        tokens = self._waiting[0].tokens
        self._refund += permit.reserved_tokens - tokens
        self._grant_next(Permit(permit.send_at, tokens))
        return True

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None and (self._waiting or self._must_report):
            self._task = asyncio.create_task(self._run())

    @property
    def _must_report(self) -> bool:
        """Whether other processes or an operator must know the state of this limiter."""
        limited = (
            bool(self.limits)
            or self.adaptive_concurrency.limit is not None
            or self.circuit_open_for() > 0
        )
        return self._registered or (limited and self.in_flight > 0)

    async def _run(self) -> None:
        unavailable_since: float | None = None
        stopping_since: float | None = None
        try:
            while self._waiting or self._must_report:
                self._changed.clear()
                self.refresh_limits()
                if self._stopping.is_set():
                    stopping_since = stopping_since or loop_time()
                    too_late = loop_time() - stopping_since > _SHUTDOWN_GRACE
                    self._reject_waiters(
                        StoreUnavailableError("the process stops") if too_late else None
                    )
                try:
                    pause = await self._serve_waiters()
                except StoreError as error:
                    unavailable_since = unavailable_since or loop_time()
                    if loop_time() - unavailable_since > _GIVE_UP_AFTER:
                        self._reject_waiters(error)
                    if not self._waiting and (self._stopping.is_set() or not self.in_flight):
                        return
                    _log.warning("limits_unreachable", model=self.key.model, why=str(error))
                    pause = _RETRY_INTERVAL
                else:
                    unavailable_since = None
                if pause:
                    await asyncio.sleep(min(pause, _MIN_INTERVAL))
                    await self._sleep_until_changed(pause - _MIN_INTERVAL)
        except Exception as error:
            self._reject_waiters(StoreError(f"limits: {type(error).__name__}"))
            raise
        finally:
            self._task = None

    async def _sleep_until_changed(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, _RETRY_INTERVAL)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _reject_waiters(self, error: StoreError | None) -> None:
        """Reject waiters whose attempt is not recorded yet; with an error, reject all."""
        waiting = list(self._waiting)
        self._waiting = [w for w in waiting if w.is_recorded and error is None]
        for waiter in waiting:
            if waiter in self._waiting or waiter.future.done():
                continue
            if error is None:
                waiter.future.set_result(None)
            else:
                waiter.future.set_exception(StoreUnavailableError(str(error)))

    async def _serve_waiters(self) -> float:
        """Grant what may be granted; return the seconds until it is worth trying again."""
        if not self.limits:
            while self._waiting and self._may_send():
                self._grant_next(Permit())
            if self._must_report:
                await self._request_permits([])
            return min(RENEW_INTERVAL, max(_MIN_INTERVAL, self._cooldown_until - loop_time()))
        most = MAX_CALLS_PER_REQUEST
        if self.adaptive_concurrency.limit is not None:
            most = max(0, int(self.adaptive_concurrency.limit) - self.in_flight)
        granted = await self._request_permits([waiter.tokens for waiter in self._waiting][:most])
        if not granted.ask_again_in:
            return RENEW_INTERVAL
        return max(_MIN_INTERVAL, min(granted.ask_again_in, RENEW_INTERVAL))

    async def _request_permits(self, token_costs: list[int]) -> LimitGrant:
        refund, self._refund = self._refund, 0
        limit = self.adaptive_concurrency.limit
        request = LimitRequest(
            client_id=self._client_id,
            in_flight=self.in_flight,
            token_costs=token_costs,
            refund=refund,
            cooldown=max(0.0, self._cooldown_until - loop_time()),
            adaptive_limit=None if limit is None else int(limit),
            circuit_open_for=self.circuit_open_for(),
        )
        try:
            granted = await asyncio.to_thread(
                self._backend.request_permits, self.key, self.limits, request
            )
        except BaseException:
            self._refund += refund
            raise
        now = loop_time()
        for tokens, delay in zip(token_costs, granted.send_delays, strict=False):
            if self._waiting:
                # Another waiter may be first by now: the permit keeps the tokens it reserved.
                send_at = now + delay
                self._grant_next(Permit(send_at if self.limits.is_paced else None, tokens), send_at)
            else:
                self._refund += tokens
        self._contested = granted.contested
        granted_calls = len(granted.send_delays)
        self._registered = request.in_flight + granted_calls > 0 or granted_calls < len(token_costs)
        return granted


def _is_late(permit: Permit) -> bool:
    return permit.send_at is None or loop_time() > permit.send_at + MAX_LATENESS
