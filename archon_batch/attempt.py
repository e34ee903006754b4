"""An attempt: on record before it is sent, settled once, and tried again here and nowhere else."""

import asyncio
import random
from contextlib import AsyncExitStack
from enum import Enum, auto
from functools import partial

import structlog

from archon_batch.archon import Call, Model, Reply, Usage
from archon_batch.breaker import Breaker
from archon_batch.errors import Billing, BrokenReplyError, CallTimeoutError, GatewayError
from archon_batch.gateway import Gateway
from archon_batch.ledger import Again, Fail, NanoUsd, Price, Stop, decide
from archon_batch.running import RunningJob
from archon_batch.store import (
    BudgetReached,
    Busy,
    CallId,
    Finish,
    Found,
    Halted,
    Poisoned,
    Settled,
    Start,
    Started,
    Store,
    Tight,
    me,
    now,
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


class _Gate:
    """Where the calls of one model wait while its breaker is open."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.breaker = Breaker()
        #: The first in the queue watches the breaker, and is the next probe.
        self.turn = asyncio.Lock()
        #: Since when it has been told that the model is parked.
        self._told: float | None = None

    @property
    def parks(self) -> bool:
        return self.breaker.parks(_clock())

    def answered(self) -> None:
        self._told_of(self.breaker.succeeded(), "")

    def failed(self, error: GatewayError) -> None:
        jitter = random.random()  # noqa: S311  (only jitter)
        self._told_of(self.breaker.failed(error, _clock(), jitter), error.reason)

    def _told_of(self, after: Breaker, reason: str) -> None:
        before, self.breaker = self.breaker, after
        if after.openings > before.openings and (before.probing or self._told is None):
            self._told = self._told or _clock()
            seconds = round(after.waits(_clock()), 1)
            _log.warning("model_parked", model=self.model, seconds=seconds, reason=reason)
        elif self._told and not self.parks and not after.openings:
            _log.info("model_answers", model=self.model, seconds=round(_clock() - self._told, 1))
            self._told = None


class Placer:
    """Places calls, from one event loop, with a bound on how many are in flight."""

    def __init__(
        self, store: Store, gateway: Gateway, *, max_in_flight: int, timeout: float
    ) -> None:
        self._store = store
        self._gateway = gateway
        #: Seconds that one attempt may take.
        self._timeout = timeout
        self._slots = asyncio.Semaphore(max_in_flight)
        self._at_the_limit = asyncio.Lock()
        self._of_model: dict[Model, asyncio.Semaphore] = {}
        self._gates: dict[tuple[str, str | None], _Gate] = {}
        #: Set when the process is about to stop: nothing more begins, what is in flight lands.
        self.stopping = asyncio.Event()

    async def place(self, job: RunningJob, ix: int, call: Call) -> End:
        """See to it that the call has a reply: found, or paid for once."""
        gate = self._gate_of(call.model)
        while not self.stopping.is_set():
            step = await self._through(gate, job, ix, call)
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
        self, gate: _Gate, job: RunningJob, ix: int, call: Call
    ) -> End | Again | Tight:
        """Begin an attempt when the model is not parked, or this is to be its probe."""
        before = await self._parked(gate) if gate.parks else None
        taken = gate.breaker
        if self.stopping.is_set():
            return End.OPEN
        try:
            async with AsyncExitStack() as slots:
                for slot in self._slots_of(call.model):
                    await slots.enter_async_context(slot)
                # It may have been parked while this call waited for a slot.
                if before is None and gate.parks:
                    return Again(0)
                return await self._attempt(gate, job, ix, call)
        finally:
            # A probe of which nothing was heard, since there was nothing to send, is the next's.
            if before is not None and gate.breaker is taken:
                gate.breaker = before

    async def _parked(self, gate: _Gate) -> Breaker | None:
        """Wait, without a slot, until a call may go; the breaker so far if it is the probe."""
        async with gate.turn:
            while seconds := gate.breaker.waits(_clock()):
                if self.stopping.is_set():
                    return None
                await self._wait(min(seconds, _LOOK_FOR_MODEL))
            if self.stopping.is_set() or not gate.parks:
                return None
            before = gate.breaker
            gate.breaker = before.probed(_clock())
            return before

    async def _attempt(
        self, gate: _Gate, job: RunningJob, ix: int, call: Call
    ) -> End | Again | Tight:
        """Begin an attempt, if there is to be one, and send it."""
        if self.stopping.is_set():
            return End.OPEN
        start = self._start(job, ix, call)
        begun = await asyncio.wrap_future(self._store.clerk.begin(start))
        match begun:
            case Settled() | Found() | Poisoned():
                return End.SETTLED
            case Started():
                return await self._send(gate, job, call, start, begun)
            case Busy():
                return Again(_LOOK)
            case Tight():
                return begun
            case Halted():
                return End.OPEN
            case BudgetReached():
                await self._halt(job, "paused", "the budget is reached")
                return End.OPEN

    async def _send(
        self, gate: _Gate, job: RunningJob, call: Call, start: Start, begun: Started
    ) -> Again | End:
        """Send an attempt that is on record, settle it, and say what follows."""
        attempt = f"{job.id}/{start.call.ix}/{call.key}/{begun.n}"
        price = job.prices[call.model.model]
        try:
            async with asyncio.timeout(self._timeout + _GRACE / 2):
                reply = await self._gateway.answer(call, attempt)
        except GatewayError as error:
            failed: GatewayError = error
        except TimeoutError:
            failed = CallTimeoutError(call.model.model, f"no answer in {self._timeout:.0f} s")
        except Exception as error:  # noqa: BLE001  (whatever it is, it may be on the bill)
            # Of its words nothing is told: they may quote the prompt.
            _log.error("gateway_broke", attempt=attempt, error=type(error).__name__)
            _log.debug("gateway_broke_here", attempt=attempt, exc_info=True)
            failed = BrokenReplyError(call.model.model, f"{type(error).__name__} in the gateway")
        else:
            gate.answered()
            await self._settle(_answered(start, begun.n, reply, price))
            return End.SETTLED
        doubts = begun.in_doubt + (failed.billing is Billing.IN_DOUBT)
        gate.failed(failed)
        jitter = random.random()  # noqa: S311  (only jitter)
        verdict = decide(failed, begun.tried, doubts, jitter, gate.breaker.away(_clock()))
        await self._settle(_failed(start, begun.n, failed, verdict))
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

    async def _settle(self, finish: Finish) -> None:
        # Shielded: an answer that has reached us is put on record even if the task is cancelled.
        await asyncio.shield(asyncio.wrap_future(self._store.clerk.settle(finish)))

    async def _halt(self, job: RunningJob, state: str, why: str) -> None:
        move = partial(self._store.jobs.move, job.id, state, only_from=["running"], reason=why)
        # A write may wait for another process's, and the loop must not.
        if await asyncio.to_thread(move):
            _log.warning("job_halted", job=job.id, state=state, why=why)

    def _start(self, job: RunningJob, ix: int, call: Call) -> Start:
        price = job.prices[call.model.model]
        return Start(
            call=CallId(job.id, ix, call.key),
            kind=call.kind,
            model=call.model.model,
            fingerprint=call.fingerprint,
            reserve=price.most(call) if price else None,
            lasts=self._timeout + _GRACE,
            reuse=job.reuse,
            owner=me(),
            at=now(),
        )

    def _gate_of(self, model: Model) -> _Gate:
        key = model.model, model.api_base
        return self._gates.get(key) or self._gates.setdefault(key, _Gate(model.model))

    def _slots_of(self, model: Model) -> list[asyncio.Semaphore]:
        if model.max_in_flight is None:
            return [self._slots]
        # The model's own slot first: who waits for it must not hold one that others could use.
        own = self._of_model.setdefault(model, asyncio.Semaphore(model.max_in_flight))
        return [own, self._slots]

    async def _wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the process is about to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _answered(start: Start, n: int, reply: Reply, price: Price | None) -> Finish:
    cost = price.cost(reply.usage) if price else None
    # A provider that does not say what it counted is taken to have counted the most it could.
    estimated = price is not None and cost is None
    return Finish(
        start=start,
        n=n,
        billing=Billing.BILLED,
        outcome="ok",
        why=None,
        usage=reply.usage,
        cost=start.reserve if estimated else cost,
        estimated=estimated,
        reply=reply,
        at=now(),
    )


def _failed(start: Start, n: int, error: GatewayError, verdict: Again | Fail | Stop) -> Finish:
    return Finish(
        start=start,
        n=n,
        billing=error.billing,
        outcome=error.reason,
        why=error.why,
        usage=Usage(),
        cost=None if error.billing is Billing.IN_DOUBT else NanoUsd(0),
        estimated=False,
        reply=Reply(None, failure=verdict.why) if isinstance(verdict, Fail) else None,
        at=now(),
    )
