"""An attempt: on record before it is sent, settled once, and tried again here and nowhere else."""

import asyncio
import random
from enum import Enum, auto
from functools import partial

import structlog

from archon_batch.archon import Call, Model, Reply, Usage, estimated
from archon_batch.calls import Line, Lines, Meters, StoredMeters
from archon_batch.calls.attempt_records import answered, begins
from archon_batch.calls.attempt_records import failed as failed_as
from archon_batch.calls.circuit_breaker import Breaker
from archon_batch.calls.concurrency import Place, Slots
from archon_batch.calls.loop_bridge import Tray
from archon_batch.calls.model_breaker import Gate, clock
from archon_batch.calls.overbilling import Excess, reasons
from archon_batch.errors import (
    Billing,
    BrokenReplyError,
    CallTimeoutError,
    GatewayError,
    RateLimitError,
    StoreAwayError,
    UnreachableError,
)
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.money import LONGEST_RETRY_AFTER, Again, Beyond, Fail, Past, Stop, decide
from archon_batch.providers import Gateway
from archon_batch.store import (
    Begun,
    BudgetReached,
    Busy,
    Finish,
    Found,
    Halted,
    Poisoned,
    Settled,
    Start,
    Started,
    Store,
    Tight,
)

#: Seconds between looks at a call that waits for another.
_LOOK = 0.1
#: Seconds between looks at a model that is away.
_LOOK_FOR_MODEL = 0.1
#: Seconds between looks at a budget that calls in flight hold.
_LOOK_FOR_MONEY = 0.01
#: Seconds after its deadline when an attempt is certainly over, and its process dead or frozen.
_GRACE = 60.0

_log = structlog.get_logger()


class End(Enum):
    """How the handling of a call ended."""

    #: It has a reply, which may be a failure.
    SETTLED = auto()
    #: It is still to be made: the job does not run, or this process is about to stop.
    OPEN = auto()


class Placer:
    """Places calls, from one event loop, with a bound on how many are in flight."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        *,
        max_in_flight: int,
        timeout: float,
        meters: Meters | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        #: Seconds that one attempt may take.
        self._timeout = timeout
        self._slots = Slots(max_in_flight)
        self._at_the_limit = asyncio.Lock()
        self._tray = Tray()
        self._gates: dict[tuple[str, str | None], Gate] = {}
        self._excess = Excess(store)
        #: Set when the process is about to stop: nothing more begins, what is in flight lands.
        self.stopping = asyncio.Event()
        self._lines = Lines(
            store, meters or StoredMeters(store), room=max_in_flight, stopping=self.stopping
        )

    async def place(self, job: RunningJob, ix: int, call: Call) -> End:
        """See to it that the call has a reply: found, or paid for once."""
        gate = self._gate_of(call.model)
        if job.beyond and (seen := job.beyond.get(gate.model)):
            gate.counts(seen)
        line = await self._lines.of(call.model, job.id)
        line.parked = gate.waits
        while not self.stopping.is_set():
            step = await self._through(gate, line, job, ix, call)
            match step:
                case End():
                    return step
                case Again(seconds):
                    await self._wait(seconds)
                case Tight():
                    # One at a time: the money that comes free is enough for one, or for none.
                    async with self._at_the_limit:
                        await self._wait(_LOOK_FOR_MONEY)
        return End.OPEN

    async def _through(
        self, gate: Gate, line: Line, job: RunningJob, ix: int, call: Call
    ) -> End | Again | Tight:
        """Begin an attempt when the model is not parked, or this is to be its probe."""
        before = await self._parked(gate) if gate.parks else None
        taken = gate.breaker
        if self.stopping.is_set():
            return End.OPEN
        try:
            place = await self._slots.place(line, _cost(line, call), call.key.layer)
            if place is None:
                return End.OPEN
            try:
                # It may have been parked while this call waited for a place.
                if before is None and gate.parks:
                    return Again(0)
                if self.stopping.is_set():
                    return End.OPEN
                return await self._attempt(gate, place, job, ix, call)
            finally:
                place.leave()
        finally:
            # A probe of which nothing was heard, since there was nothing to send, is the next's.
            if before is not None and gate.breaker is taken:
                gate.breaker = before

    async def _parked(self, gate: Gate) -> Breaker | None:
        """Wait, without a slot, until a call may go; the breaker so far if it is the probe."""
        async with gate.turn:
            while seconds := gate.waits():
                if self.stopping.is_set():
                    return None
                await self._wait(min(seconds, _LOOK_FOR_MODEL))
            if self.stopping.is_set() or not gate.parks:
                return None
            before = gate.breaker
            gate.breaker = before.probed(clock())
            return before

    async def _attempt(
        self, gate: Gate, place: Place, job: RunningJob, ix: int, call: Call
    ) -> End | Again | Tight:
        """Begin an attempt, if there is to be one, and send it."""
        start = begins(job, ix, call, lasts=self._timeout + _GRACE, beyond=gate.beyond)
        slip = self._tray.slip()
        self._store.clerk.begin_for(slip, start)
        begun: Begun = await slip.future
        match begun:
            case Settled() | Found() | Poisoned():
                return End.SETTLED
            case Started():
                return await self._send(gate, place, job, call, start, begun)
            case Busy():
                return Again(_LOOK)
            case Tight():
                return begun
            case Halted():
                return End.OPEN
            case BudgetReached():
                await self._halt(job, "paused", "; ".join(reasons(self._gates.values(), job)))
                return End.OPEN

    async def _send(
        self,
        gate: Gate,
        place: Place,
        job: RunningJob,
        call: Call,
        start: Start,
        begun: Started,
    ) -> Again | End:
        """Send an attempt that is on record, settle it, and say what follows."""
        attempt = f"{job.id}/{start.call.ix}/{call.key}/{begun.n}"
        line, permit = place.line, place.permit
        came = await self._came_of(place, call, attempt)
        if isinstance(came, Reply):
            gate.answered()
            permit.used = _used(came.usage)
            line.answered(came.headroom)
            finish = answered(start, begun.n, came, job.prices[call.model.model])
            await self._keep(gate, place, job, call, finish)
            return End.SETTLED
        failed = came
        in_doubt = failed.billing is Billing.IN_DOUBT
        refused = isinstance(failed, RateLimitError)
        gate.failed(failed, line.in_flight - 1)
        permit.used = None if in_doubt else 0
        if refused:
            line.pushed(permit, gate.wish)
        past = Past(begun.tried, begun.in_doubt + in_doubt, begun.refused + refused)
        jitter = random.random()  # noqa: S311  (only jitter)
        verdict = decide(failed, past, jitter, gate.breaker.away(clock()))
        await self._settles(failed_as(start, begun.n, failed, verdict))
        _log.debug(
            "attempt_failed",
            job=job.id, item=start.call.ix, call=str(call.key), n=begun.n,
            model=call.model.model, outcome=failed.reason, verdict=type(verdict).__name__.lower(),
        )  # fmt: skip
        match verdict:
            case Again():
                return verdict
            case Fail():
                return End.SETTLED
            case Stop(why):
                await self._halt(job, "stopped", why)
                return End.OPEN

    async def _came_of(self, place: Place, call: Call, attempt: str) -> Reply | GatewayError:
        """Send the call at its moment, and wait for what comes of it."""
        model = call.model.model
        try:
            await place.line.sends(place.permit, _cost(place.line, call))
            async with asyncio.timeout(self._timeout + _GRACE / 2):
                return await self._gateway.answer(call, attempt)
        except GatewayError as error:
            return error
        except StoreAwayError as error:
            return UnreachableError(model, str(error))
        except TimeoutError:
            return CallTimeoutError(model, f"no answer in {self._timeout:.0f} s")
        except Exception as error:  # noqa: BLE001  (whatever it is, it may be on the bill)
            # Of its words nothing is told: they may quote the prompt.
            _log.error("gateway_broke", attempt=attempt, error=type(error).__name__)
            _log.debug("gateway_broke_here", attempt=attempt, exc_info=True)
            return BrokenReplyError(model, f"{type(error).__name__} in the gateway")

    async def _keep(
        self, gate: Gate, place: Place, job: RunningJob, call: Call, finish: Finish
    ) -> None:
        """Settle an attempt that was answered."""
        exceeds = (finish.cost or 0) > (finish.start.reserve or 0)
        if exceeds:
            gate.counts((gate.beyond or Beyond()).seen(call, finish.usage))
        settled = self._settles(finish)
        # After it is handed in: the next call begins in the commit that settles this one.
        place.leave()
        await settled
        if exceeds:
            await self._excess.tell(gate, job)

    def _settles(self, finish: Finish) -> "asyncio.Future[None]":
        """Hand the end in, which is put on record even if this task is cancelled."""
        slip = self._tray.slip()
        self._store.clerk.settle_for(slip, finish)
        return slip.future

    async def _halt(self, job: RunningJob, state: str, why: str) -> None:
        move = partial(self._store.jobs.move, job.id, state, only_from=["running"], reason=why)
        # A write may wait for another process's, and the loop must not.
        if await asyncio.to_thread(move):
            _log.warning("job_halted", job=job.id, state=state, why=why)

    def _gate_of(self, model: Model) -> Gate:
        key = model.model, model.api_base
        return self._gates.get(key) or self._gates.setdefault(key, Gate(model.model))

    async def close(self) -> None:
        """Give back what is held of the models' limits."""
        await self._lines.close()

    async def _wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the process is about to stop."""
        try:
            async with asyncio.timeout(min(seconds, LONGEST_RETRY_AFTER)):
                await self.stopping.wait()
        except TimeoutError:
            pass


def _cost(line: Line, call: Call) -> int:
    """The tokens to reserve for the call: none where nobody counts."""
    return estimated(call.messages) + call.max_tokens if line.limits.tpm else 0


def _used(usage: Usage) -> int | None:
    if usage.prompt is None or usage.completion is None:
        return None
    return usage.prompt + usage.completion
