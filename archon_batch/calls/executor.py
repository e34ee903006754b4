"""Executes calls: admits, sends, settles and retries their attempts; nothing else retries a call."""

import asyncio
import random
from enum import Enum, auto
from functools import partial

import structlog

from archon_batch.archon import Call, Model, Reply, Usage, estimate_tokens
from archon_batch.calls.attempt_records import failure_result, new_request, success_result
from archon_batch.calls.circuit_breaker import CircuitBreaker
from archon_batch.calls.concurrency import CallSemaphore, Slot
from archon_batch.calls.limit_backends import DatabaseLimitBackend, LimitBackend
from archon_batch.calls.loop_bridge import LoopBridge
from archon_batch.calls.model_breaker import ModelBreaker, loop_time
from archon_batch.calls.model_limiter import ModelLimiter
from archon_batch.calls.model_limiters import ModelLimiters
from archon_batch.calls.overbilling import OverbillingRecorder, budget_reasons
from archon_batch.errors import (
    Billing,
    BrokenReplyError,
    CallTimeoutError,
    ProviderError,
    RateLimitError,
    StoreUnavailableError,
    UnreachableError,
)
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.money import Overbilling
from archon_batch.providers import Provider
from archon_batch.retry_policy import (
    MAX_RETRY_AFTER,
    AttemptHistory,
    GiveUp,
    Retry,
    StopJob,
    decide,
)
from archon_batch.store import (
    Admission,
    Admitted,
    AlreadySettled,
    AttemptRequest,
    AttemptResult,
    BudgetExhausted,
    BudgetWait,
    CacheHit,
    DuplicateInFlight,
    JobNotRunning,
    PoisonPill,
    Store,
)

#: Seconds between checks of an identical call in flight.
_DUPLICATE_POLL = 0.1
#: Seconds between checks of an open circuit.
_CIRCUIT_POLL = 0.1
#: Seconds between checks of a budget that calls in flight hold.
_BUDGET_POLL = 0.01
#: Seconds after its deadline when an attempt has certainly ended: its process is dead or frozen.
_GRACE = 60.0

_log = structlog.get_logger()


class CallStatus(Enum):
    """How the handling of a call ended."""

    #: It has a reply, which may be a failure.
    SETTLED = auto()
    #: It has no reply: the job does not run, or this process is about to stop.
    OPEN = auto()


class CallExecutor:
    """Executes calls on one event loop, with a bound on the calls in flight.

    Each attempt is in the database before it is sent, and is settled once.
    """

    def __init__(
        self,
        store: Store,
        provider: Provider,
        *,
        max_in_flight: int,
        timeout: float,
        limit_backend: LimitBackend | None = None,
    ) -> None:
        self._store = store
        self._provider = provider
        #: Seconds that one attempt may take.
        self._timeout = timeout
        self._semaphore = CallSemaphore(max_in_flight)
        self._budget_wait_lock = asyncio.Lock()
        self._bridge = LoopBridge()
        self._breakers: dict[tuple[str, str | None], ModelBreaker] = {}
        self._overbilling = OverbillingRecorder(store)
        #: Set when the process is about to stop: no attempt begins, calls in flight result.
        self.stopping = asyncio.Event()
        self._limiters = ModelLimiters(
            store,
            limit_backend or DatabaseLimitBackend(store),
            capacity=max_in_flight,
            stopping=self.stopping,
        )

    async def execute(self, job: FrozenJob, ix: int, call: Call) -> CallStatus:
        """Get the call a reply: from an earlier attempt, from the cache, or from the provider.

        ``ix`` is the row's index in the job.
        """
        breaker = self._breaker_for(call.model)
        if job.overbilling and (seen := job.overbilling.get(breaker.model)):
            breaker.record_overbilling(seen)
        limiter = await self._limiters.limiter_for(call.model, job.id)
        limiter.circuit_open_for = breaker.seconds_to_wait
        while not self.stopping.is_set():
            status = await self._admit(breaker, limiter, job, ix, call)
            match status:
                case CallStatus():
                    return status
                case Retry(seconds):
                    await self._sleep(seconds)
                case BudgetWait():
                    # One call at a time: the money that an ending call frees covers one at most.
                    async with self._budget_wait_lock:
                        await self._sleep(_BUDGET_POLL)
        return CallStatus.OPEN

    async def _admit(
        self, breaker: ModelBreaker, limiter: ModelLimiter, job: FrozenJob, ix: int, call: Call
    ) -> CallStatus | Retry | BudgetWait:
        """Get a slot and begin an attempt, once the circuit is closed or this call is its probe."""
        before = await self._wait_for_circuit(breaker) if breaker.blocks else None
        taken = breaker.circuit
        if self.stopping.is_set():
            return CallStatus.OPEN
        try:
            slot = await self._semaphore.acquire_slot(
                limiter, _tokens_to_reserve(limiter, call), call.key.layer
            )
            if slot is None:
                return CallStatus.OPEN
            try:
                # The circuit may have opened while this call waited for a slot.
                if before is None and breaker.blocks:
                    return Retry(0)
                if self.stopping.is_set():
                    return CallStatus.OPEN
                return await self._begin_and_send(breaker, slot, job, ix, call)
            finally:
                slot.release()
        finally:
            # Nothing was sent, so restore the breaker: the next caller probes instead.
            if before is not None and breaker.circuit is taken:
                breaker.circuit = before

    async def _wait_for_circuit(self, breaker: ModelBreaker) -> CircuitBreaker | None:
        """Wait without a slot until the call may be sent.

        Return the circuit before the probe if this call is the probe, else None.
        """
        async with breaker.probe_lock:
            while seconds := breaker.seconds_to_wait():
                if self.stopping.is_set():
                    return None
                await self._sleep(min(seconds, _CIRCUIT_POLL))
            if self.stopping.is_set() or not breaker.blocks:
                return None
            before = breaker.circuit
            breaker.circuit = before.half_open(loop_time())
            return before

    async def _begin_and_send(
        self, breaker: ModelBreaker, slot: Slot, job: FrozenJob, ix: int, call: Call
    ) -> CallStatus | Retry | BudgetWait:
        """Record an attempt, if the call needs one, and send it."""
        request = new_request(
            job, ix, call, expires_after=self._timeout + _GRACE, overbilling=breaker.overbilling
        )
        bridged = self._bridge.create_future()
        self._store.attempt_writer.enqueue_request(bridged, request)
        admission: Admission = await bridged.future
        match admission:
            case AlreadySettled() | CacheHit() | PoisonPill():
                return CallStatus.SETTLED
            case Admitted():
                return await self._send_and_settle(breaker, slot, job, call, request, admission)
            case DuplicateInFlight():
                return Retry(_DUPLICATE_POLL)
            case BudgetWait():
                return admission
            case JobNotRunning():
                return CallStatus.OPEN
            case BudgetExhausted():
                await self._halt_job(
                    job, "paused", "; ".join(budget_reasons(self._breakers.values(), job))
                )
                return CallStatus.OPEN

    async def _send_and_settle(
        self,
        breaker: ModelBreaker,
        slot: Slot,
        job: FrozenJob,
        call: Call,
        request: AttemptRequest,
        admitted: Admitted,
    ) -> Retry | CallStatus:
        """Send a recorded attempt, settle it, and decide what follows."""
        attempt_id = f"{job.id}/{request.call.ix}/{call.key}/{admitted.attempt_number}"
        limiter, permit = slot.limiter, slot.permit
        outcome = await self._complete(slot, call, attempt_id)
        if isinstance(outcome, Reply):
            breaker.succeeded()
            permit.used_tokens = _total_tokens(outcome.usage)
            limiter.succeeded(outcome.remaining_limits)
            result = success_result(
                request, admitted.attempt_number, outcome, job.prices[call.model.model]
            )
            await self._settle_reply(breaker, slot, job, call, result)
            return CallStatus.SETTLED
        in_doubt = outcome.billing is Billing.IN_DOUBT
        rate_limited = isinstance(outcome, RateLimitError)
        breaker.failed(outcome, limiter.in_flight - 1)
        permit.used_tokens = None if in_doubt else 0
        if rate_limited:
            limiter.throttled(permit, breaker.retry_after)
        history = AttemptHistory(
            admitted.counted_attempts,
            admitted.in_doubt + in_doubt,
            admitted.rate_limited + rate_limited,
        )
        jitter = random.random()  # noqa: S311  (only jitter)
        verdict = decide(outcome, history, jitter, breaker.circuit.down_for(loop_time()))
        await self._settle(failure_result(request, admitted.attempt_number, outcome, verdict))
        _log.debug(
            "attempt_failed",
            job=job.id, item=request.call.ix, call=str(call.key), n=admitted.attempt_number,
            model=call.model.model, outcome=outcome.reason, verdict=type(verdict).__name__.lower(),
        )  # fmt: skip
        match verdict:
            case Retry():
                return verdict
            case GiveUp():
                return CallStatus.SETTLED
            case StopJob(reason):
                await self._halt_job(job, "stopped", reason)
                return CallStatus.OPEN

    async def _complete(self, slot: Slot, call: Call, attempt_id: str) -> Reply | ProviderError:
        """Send the call when its permit allows; every error becomes a ProviderError."""
        model = call.model.model
        try:
            await slot.limiter.wait_to_send(slot.permit, _tokens_to_reserve(slot.limiter, call))
            async with asyncio.timeout(self._timeout + _GRACE / 2):
                return await self._provider.complete(call, attempt_id)
        except ProviderError as error:
            return error
        except StoreUnavailableError as error:
            return UnreachableError(model, str(error))
        except TimeoutError:
            return CallTimeoutError(model, f"no answer in {self._timeout:.0f} s")
        except Exception as error:  # noqa: BLE001  (the provider may have billed it)
            # Do not log the message: it may quote the prompt.
            _log.error("provider_raised", attempt=attempt_id, error=type(error).__name__)
            _log.debug("provider_traceback", attempt=attempt_id, exc_info=True)
            return BrokenReplyError(model, f"{type(error).__name__} in the provider")

    async def _settle_reply(
        self, breaker: ModelBreaker, slot: Slot, job: FrozenJob, call: Call, result: AttemptResult
    ) -> None:
        """Settle an attempt that has a reply, and free its slot."""
        exceeds = (result.cost or 0) > (result.request.hold or 0)
        if exceeds:
            breaker.record_overbilling(
                (breaker.overbilling or Overbilling()).with_reply(call, result.usage)
            )
        settled = self._settle(result)
        # Release after queueing the result: the next call can begin in the commit that settles it.
        slot.release()
        await settled
        if exceeds:
            await self._overbilling.record(breaker, job)

    def _settle(self, result: AttemptResult) -> "asyncio.Future[None]":
        """Queue the result; it is committed even if this task is cancelled."""
        bridged = self._bridge.create_future()
        self._store.attempt_writer.enqueue_result(bridged, result)
        return bridged.future

    async def _halt_job(self, job: FrozenJob, state: str, reason: str) -> None:
        change_state = partial(
            self._store.jobs.change_state, job.id, state, from_states=["running"], reason=reason
        )
        # A write may wait for another process; the loop must not.
        if await asyncio.to_thread(change_state):
            _log.warning("job_halted", job=job.id, state=state, reason=reason)

    def _breaker_for(self, model: Model) -> ModelBreaker:
        key = model.model, model.api_base
        return self._breakers.get(key) or self._breakers.setdefault(key, ModelBreaker(model.model))

    async def close(self) -> None:
        """Release what this process holds of the models' limits."""
        await self._limiters.close()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or wake earlier when the process is about to stop."""
        try:
            async with asyncio.timeout(min(seconds, MAX_RETRY_AFTER)):
                await self.stopping.wait()
        except TimeoutError:
            pass


def _tokens_to_reserve(limiter: ModelLimiter, call: Call) -> int:
    """Tokens to reserve of the model's limit; 0 when tokens are not limited."""
    return estimate_tokens(call.messages) + call.max_tokens if limiter.limits.tpm else 0


def _total_tokens(usage: Usage) -> int | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return usage.prompt_tokens + usage.completion_tokens
