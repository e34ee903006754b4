"""An attempt: on record before it is sent, settled once, and tried again here and nowhere else."""

import asyncio
import random
from enum import Enum, auto
from functools import partial

import structlog

from archon_batch.archon import Call, Model, Reply, Usage, estimate_tokens
from archon_batch.calls import DatabaseLimitBackend, LimitBackend, ModelLimiter, ModelLimiters
from archon_batch.calls.attempt_records import failure_result as failed_as
from archon_batch.calls.attempt_records import new_request, success_result
from archon_batch.calls.circuit_breaker import CircuitBreaker
from archon_batch.calls.concurrency import CallSemaphore, Slot
from archon_batch.calls.loop_bridge import LoopBridge
from archon_batch.calls.model_breaker import ModelBreaker, loop_time
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
from archon_batch.money import (
    MAX_RETRY_AFTER,
    AttemptHistory,
    GiveUp,
    Overbilling,
    Retry,
    StopJob,
    decide,
)
from archon_batch.providers import Provider
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

#: Seconds between looks at a call that waits for another.
_DUPLICATE_POLL = 0.1
#: Seconds between looks at a model that is away.
_CIRCUIT_POLL = 0.1
#: Seconds between looks at a budget that calls in flight hold.
_BUDGET_POLL = 0.01
#: Seconds after its deadline when an attempt is certainly over, and its process dead or frozen.
_GRACE = 60.0

_log = structlog.get_logger()


class CallStatus(Enum):
    """How the handling of a call ended."""

    #: It has a reply, which may be a failure.
    SETTLED = auto()
    #: It is still to be made: the job does not run, or this process is about to stop.
    OPEN = auto()


class CallExecutor:
    """Places calls, from one event loop, with a bound on how many are in flight."""

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
        #: Set when the process is about to stop: nothing more begins, what is in flight lands.
        self.stopping = asyncio.Event()
        self._limiters = ModelLimiters(
            store,
            limit_backend or DatabaseLimitBackend(store),
            capacity=max_in_flight,
            stopping=self.stopping,
        )

    async def execute(self, job: FrozenJob, ix: int, call: Call) -> CallStatus:
        """See to it that the call has a reply: found, or paid for once."""
        gate = self._breaker_for(call.model)
        if job.overbilling and (seen := job.overbilling.get(gate.model)):
            gate.record_overbilling(seen)
        line = await self._limiters.limiter_for(call.model, job.id)
        line.circuit_open_for = gate.seconds_to_wait
        while not self.stopping.is_set():
            step = await self._admit(gate, line, job, ix, call)
            match step:
                case CallStatus():
                    return step
                case Retry(seconds):
                    await self._sleep(seconds)
                case BudgetWait():
                    # One at a time: the money that comes free is enough for one, or for none.
                    async with self._budget_wait_lock:
                        await self._sleep(_BUDGET_POLL)
        return CallStatus.OPEN

    async def _admit(
        self, breaker: ModelBreaker, limiter: ModelLimiter, job: FrozenJob, ix: int, call: Call
    ) -> CallStatus | Retry | BudgetWait:
        """Begin an attempt when the model is not parked, or this is to be its probe."""
        before = await self._wait_for_circuit(breaker) if breaker.blocks else None
        taken = breaker.circuit
        if self.stopping.is_set():
            return CallStatus.OPEN
        try:
            place = await self._semaphore.acquire_slot(
                limiter, _tokens_to_reserve(limiter, call), call.key.layer
            )
            if place is None:
                return CallStatus.OPEN
            try:
                # It may have been parked while this call waited for a place.
                if before is None and breaker.blocks:
                    return Retry(0)
                if self.stopping.is_set():
                    return CallStatus.OPEN
                return await self._begin_and_send(breaker, place, job, ix, call)
            finally:
                place.release()
        finally:
            # A probe of which nothing was heard, since there was nothing to send, is the next's.
            if before is not None and breaker.circuit is taken:
                breaker.circuit = before

    async def _wait_for_circuit(self, breaker: ModelBreaker) -> CircuitBreaker | None:
        """Wait, without a slot, until a call may go; the breaker so far if it is the probe."""
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
        """Begin an attempt, if there is to be one, and send it."""
        start = new_request(
            job, ix, call, expires_after=self._timeout + _GRACE, overbilling=breaker.overbilling
        )
        slip = self._bridge.create_future()
        self._store.attempt_writer.enqueue_request(slip, start)
        begun: Admission = await slip.future
        match begun:
            case AlreadySettled() | CacheHit() | PoisonPill():
                return CallStatus.SETTLED
            case Admitted():
                return await self._send_and_settle(breaker, slot, job, call, start, begun)
            case DuplicateInFlight():
                return Retry(_DUPLICATE_POLL)
            case BudgetWait():
                return begun
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
        """Send an attempt that is on record, settle it, and say what follows."""
        attempt = f"{job.id}/{request.call.ix}/{call.key}/{admitted.attempt_number}"
        line, permit = slot.limiter, slot.permit
        came = await self._complete(slot, call, attempt)
        if isinstance(came, Reply):
            breaker.succeeded()
            permit.used_tokens = _total_tokens(came.usage)
            line.succeeded(came.remaining_limits)
            finish = success_result(
                request, admitted.attempt_number, came, job.prices[call.model.model]
            )
            await self._settle_reply(breaker, slot, job, call, finish)
            return CallStatus.SETTLED
        failed = came
        in_doubt = failed.billing is Billing.IN_DOUBT
        refused = isinstance(failed, RateLimitError)
        breaker.failed(failed, line.in_flight - 1)
        permit.used_tokens = None if in_doubt else 0
        if refused:
            line.throttled(permit, breaker.retry_after)
        past = AttemptHistory(
            admitted.counted_attempts, admitted.in_doubt + in_doubt, admitted.rate_limited + refused
        )
        jitter = random.random()  # noqa: S311  (only jitter)
        verdict = decide(failed, past, jitter, breaker.circuit.down_for(loop_time()))
        await self._settle(failed_as(request, admitted.attempt_number, failed, verdict))
        _log.debug(
            "attempt_failed",
            job=job.id, item=request.call.ix, call=str(call.key), n=admitted.attempt_number,
            model=call.model.model, outcome=failed.reason, verdict=type(verdict).__name__.lower(),
        )  # fmt: skip
        match verdict:
            case Retry():
                return verdict
            case GiveUp():
                return CallStatus.SETTLED
            case StopJob(why):
                await self._halt_job(job, "stopped", why)
                return CallStatus.OPEN

    async def _complete(self, slot: Slot, call: Call, attempt_id: str) -> Reply | ProviderError:
        """Send the call at its moment, and wait for what comes of it."""
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
        except Exception as error:  # noqa: BLE001  (whatever it is, it may be on the bill)
            # Of its words nothing is told: they may quote the prompt.
            _log.error("provider_raised", attempt=attempt_id, error=type(error).__name__)
            _log.debug("provider_traceback", attempt=attempt_id, exc_info=True)
            return BrokenReplyError(model, f"{type(error).__name__} in the gateway")

    async def _settle_reply(
        self, breaker: ModelBreaker, slot: Slot, job: FrozenJob, call: Call, result: AttemptResult
    ) -> None:
        """Settle an attempt that was answered."""
        exceeds = (result.cost or 0) > (result.request.hold or 0)
        if exceeds:
            breaker.record_overbilling(
                (breaker.overbilling or Overbilling()).with_reply(call, result.usage)
            )
        settled = self._settle(result)
        # After it is handed in: the next call begins in the commit that settles this one.
        slot.release()
        await settled
        if exceeds:
            await self._overbilling.record(breaker, job)

    def _settle(self, result: AttemptResult) -> "asyncio.Future[None]":
        """Hand the end in, which is put on record even if this task is cancelled."""
        slip = self._bridge.create_future()
        self._store.attempt_writer.enqueue_result(slip, result)
        return slip.future

    async def _halt_job(self, job: FrozenJob, state: str, why: str) -> None:
        move = partial(
            self._store.jobs.change_state, job.id, state, from_states=["running"], reason=why
        )
        # A write may wait for another process's, and the loop must not.
        if await asyncio.to_thread(move):
            _log.warning("job_halted", job=job.id, state=state, why=why)

    def _breaker_for(self, model: Model) -> ModelBreaker:
        key = model.model, model.api_base
        return self._breakers.get(key) or self._breakers.setdefault(key, ModelBreaker(model.model))

    async def close(self) -> None:
        """Give back what is held of the models' limits."""
        await self._limiters.close()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the process is about to stop."""
        try:
            async with asyncio.timeout(min(seconds, MAX_RETRY_AFTER)):
                await self.stopping.wait()
        except TimeoutError:
            pass


def _tokens_to_reserve(limiter: ModelLimiter, call: Call) -> int:
    """The tokens to reserve for the call: none where nobody counts."""
    return estimate_tokens(call.messages) + call.max_tokens if limiter.limits.tpm else 0


def _total_tokens(usage: Usage) -> int | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return usage.prompt_tokens + usage.completion_tokens
