"""The executor: one request an attempt, settled once, and retried only here."""

import asyncio
import selectors
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from archon_batch.archon import Call, Model, Reply, Usage
from archon_batch.calls.circuit_breaker import FAILURE_THRESHOLD
from archon_batch.calls.executor import CallExecutor, CallStatus
from archon_batch.config import component_types
from archon_batch.errors import (
    BadCallError,
    CallTimeoutError,
    CredentialsError,
    PromptTooLongError,
    ProviderDownError,
    ProviderError,
    ProviderFailedError,
    QuotaError,
    RateLimitError,
    RefusedError,
    UnknownModelError,
)
from archon_batch.jobs import views
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.money import Price
from archon_batch.retry_policy import MAX_ATTEMPTS, MAX_BACKOFF, MAX_OUTAGE
from archon_batch.store import Admitted, schema
from archon_batch.store.admission import MAX_PROCESS_DEATHS
from tests.builders import MODEL, a_call, a_question, a_running_job, a_start, an_architecture

#: One nano-dollar per token.
PRICE = Price(1_000_000, 1_000_000)

FOUR = Reply("four", usage=Usage(10, 5), finish_reason="stop")


class Script:
    """A provider with scripted outcomes; the last one is repeated."""

    def __init__(self, *ends: Reply | Exception, gather: int = 0):
        self.ends = list(ends) or [FOUR]
        self.attempts: list[str] = []
        self.in_flight = 0
        self.peak = 0
        self.sent = asyncio.Event()
        #: Answers only once this many calls were in flight together.
        self.gathered = asyncio.Event()
        self.gather = gather

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        del call
        self.attempts.append(attempt_id)
        self.sent.set()
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.in_flight >= self.gather:
            self.gathered.set()
        await self.gathered.wait()
        # Let all other calls that may be sent be sent now.
        for _ in range(20):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if isinstance(end, Exception):
            raise end
        return end

    async def close(self) -> None:
        """Nothing is open."""


def executed(store, job, calls: Sequence[Call], script, *, ixs=None, max_in_flight=8, timeout=30.0):
    """The status of each call, all of them executed at once."""

    async def run():
        executor = CallExecutor(store, script, max_in_flight=max_in_flight, timeout=timeout)
        indexes = ixs or [0] * len(calls)
        return await asyncio.gather(
            *(executor.execute(job, ix, call) for ix, call in zip(indexes, calls, strict=True))
        )

    return asyncio.run(run())


def a_priced_job(store, **knobs):
    architecture = an_architecture({"type": "generator", "samples": 9})
    return a_running_job(store, architecture=architecture, prices={MODEL: PRICE}, **knobs)


def a_limited_job(store, **limits: int):
    """A job with a second, limited model, and that model."""
    few = Model(model="scripted/few", **limits)  # type: ignore[arg-type]  # none of them is a name
    architecture = an_architecture(
        {"type": "generator", "samples": 9},
        {"type": "fuser", "model": "few"},
        models={"few": few.model_dump(exclude_none=True)},
    )
    prices = dict.fromkeys((MODEL, few.model), PRICE)
    return a_running_job(store, architecture=architecture, prices=prices), few


def call_record(store, job, slot=0, ix=0):
    return next(c for c in store.item_results.calls(job.id, ix) if c.key == f"0.0.{slot}.0")


def money(store, job):
    found = store.jobs.get(job.id)
    return found.spent, found.held, found.in_doubt


def test_an_answered_call_is_one_request_and_one_stored_attempt(store):
    job, script = a_priced_job(store), Script()

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert script.attempts == [f"{job.id}/0/0.0.0.0/1"]
    call = call_record(store, job)
    assert (call.text, call.kind, call.model) == ("four", "generator", MODEL)
    (attempt,) = call.attempts
    assert (attempt.state, attempt.cost, attempt.prompt_tokens) == ("billed", 15, 10)
    assert money(store, job) == (15, 0, 0)


def test_the_attempt_is_stored_with_its_maximum_cost_while_it_is_sent(store):
    job, call = a_priced_job(store), a_call()
    seen = []

    class Observing(Script):
        async def complete(self, call: Call, attempt_id: str) -> Reply:
            seen.append((money(store, job), call_record(store, job).attempts[0].state))
            return await super().complete(call, attempt_id)

    executed(store, job, [call], Observing())

    assert seen == [((0, PRICE.max_cost(call), 0), "sending")]


def test_a_settled_call_is_not_sent_again(store):
    job, script = a_priced_job(store), Script()
    executed(store, job, [a_call()], script)

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert len(script.attempts) == 1


def test_a_request_that_was_paid_before_is_a_cache_hit(store):
    job, other, script = a_priced_job(store), a_priced_job(store, name="other"), Script()
    executed(store, job, [a_call()], script)

    ends = executed(store, other, [a_call(slot=3)], script)

    assert ends == [CallStatus.SETTLED]
    assert len(script.attempts) == 1
    assert (call_record(store, other, 3).text, call_record(store, other, 3).cache_saved) == (
        "four",
        15,
    )


def test_a_job_without_the_cache_pays_for_its_own_calls(store):
    job, other = a_priced_job(store), a_priced_job(store, name="other", reuse=False)
    script = Script()
    executed(store, job, [a_call()], script)

    executed(store, other, [a_call(), a_call()], script, ixs=[0, 1])

    assert len(script.attempts) == 3


def test_a_rate_limited_call_is_retried_and_both_attempts_are_stored(store):
    job = a_priced_job(store)
    script = Script(RateLimitError(MODEL, "slow down", 0.01), FOUR)

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert script.attempts == [f"{job.id}/0/0.0.0.0/{n}" for n in (1, 2)]
    call = call_record(store, job)
    assert [(a.state, a.outcome, a.cost) for a in call.attempts] == [
        ("not_billed", "rate_limit", 0),
        ("billed", "ok", 15),
    ]
    assert (call.text, call.attempts[0].detail) == ("four", "slow down")
    first, second = call.attempts
    assert first.ended_at is not None
    assert second.begun_at - first.ended_at >= timedelta(seconds=0.45)
    assert money(store, job) == (15, 0, 0)


@pytest.mark.parametrize("error", [RefusedError, BadCallError, PromptTooLongError])
def test_an_error_that_a_retry_would_repeat_settles_its_call_with_a_failure(store, error):
    job, script = a_priced_job(store), Script(error(MODEL, "no"))

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert len(script.attempts) == 1
    call = call_record(store, job)
    assert (call.text, call.failure) == (None, f"{call.attempts[0].outcome}: no")
    assert call.attempts[0].state == "not_billed"
    assert money(store, job) == (0, 0, 0)
    assert store.jobs.get(job.id).state == "running"


@pytest.mark.parametrize("error", [CredentialsError, UnknownModelError, QuotaError])
def test_an_error_that_every_call_would_get_stops_the_job_and_leaves_the_call_open(store, error):
    job, script = a_priced_job(store), Script(error(MODEL, "who are you?"))

    ends = executed(store, job, [a_call(slot=slot) for slot in range(3)], script, max_in_flight=1)

    assert ends == [CallStatus.OPEN] * 3
    assert len(script.attempts) == 1
    stopped = store.jobs.get(job.id)
    assert (stopped.state, stopped.reason) == ("stopped", f"{MODEL}: who are you?")
    assert call_record(store, job).failure is None
    assert store.items.open_in_shard(job.id, 0)[0].replies == {}


def test_two_calls_that_stop_a_job_at_once_stop_it_once(store):
    job = a_priced_job(store)
    script = Script(CredentialsError(MODEL, "first"), QuotaError(MODEL, "second"), gather=2)

    executed(store, job, [a_call(slot=slot, sample=slot) for slot in range(2)], script)

    assert store.jobs.get(job.id).reason in (f"{MODEL}: first", f"{MODEL}: second")
    assert store.jobs.get(job.id).state == "stopped"


def test_an_exhausted_budget_pauses_the_job(store):
    call = a_call()
    job = a_priced_job(store, budget=PRICE.max_cost(call) + 14)
    script = Script()

    ends = executed(
        store, job, [a_call(slot=s, sample=s) for s in range(3)], script, max_in_flight=1
    )

    assert ends == [CallStatus.SETTLED, CallStatus.OPEN, CallStatus.OPEN]
    assert len(script.attempts) == 1
    paused = store.jobs.get(job.id)
    assert (paused.state, paused.reason) == ("paused", "the budget is reached")


def test_a_call_waits_while_calls_in_flight_hold_what_is_left_of_the_budget(store):
    call = a_call()
    job = a_priced_job(store, budget=PRICE.max_cost(call) + 15)
    script = Script()

    ends = executed(store, job, [a_call(slot=s, sample=s) for s in range(2)], script)

    assert ends == [CallStatus.SETTLED, CallStatus.SETTLED]
    assert (script.peak, money(store, job)) == (1, (30, 0, 0))


#: The reply bills 5,000 tokens where the call allows 256.
LONG = replace(FOUR, usage=Usage(10, 5_000))


def test_the_hold_covers_overbilling_once_it_was_seen(store):
    call = a_call()
    job = a_priced_job(store, budget=12_000)
    script = Script(LONG)

    with capture_logs() as logs:
        ends = executed(
            store, job, [a_call(slot=s, sample=s) for s in range(9)], script, max_in_flight=1
        )

    # The first call's hold was a hundredth of its cost; then only what the budget covers is sent.
    assert PRICE.max_cost(call) < 1_000
    assert ends == [CallStatus.SETTLED] * 2 + [CallStatus.OPEN] * 7
    assert money(store, job) == (2 * 5_010, 0, 0)
    excess = f"{MODEL} does not keep to max_tokens: 5,000 tokens for {call.max_tokens}"
    paused = store.jobs.get(job.id)
    assert (paused.state, paused.reason) == ("paused", f"the budget is reached; {excess}")
    assert [log["why"] for log in logs if log["event"] == "model_overbills"] == [excess]
    assert views.job_status(store, paused)["overbilling"] == [excess]


def test_overbilling_is_known_to_the_next_process(store):
    job, script = a_priced_job(store, budget=10_000), Script(LONG)
    executed(store, job, [a_call()], script)

    again = load_frozen_job(store.jobs.get(job.id), component_types())
    ends = executed(store, again, [a_call(slot=1, sample=1)], script)

    assert ends == [CallStatus.OPEN]
    assert len(script.attempts) == 1
    assert money(store, job) == (5_010, 0, 0)


def test_the_hold_covers_overbilled_prompt_tokens_too(store):
    hidden = replace(FOUR, usage=Usage(3_000, 5))
    job, script = a_priced_job(store, budget=5_000), Script(hidden)

    ends = executed(
        store, job, [a_call(slot=s, sample=s) for s in range(3)], script, max_in_flight=1
    )

    assert ends == [CallStatus.SETTLED, CallStatus.OPEN, CallStatus.OPEN]
    reason = store.jobs.get(job.id).reason or ""
    assert "tokens more than a prompt can have" in reason
    assert "max_tokens" not in reason


def test_no_attempt_begins_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script()

    async def run():
        executor = CallExecutor(store, script, max_in_flight=8, timeout=30)
        executor.stopping.set()
        return await executor.execute(job, 0, a_call())

    assert asyncio.run(run()) is CallStatus.OPEN
    assert script.attempts == []
    assert store.item_results.calls(job.id, 0) == []


def test_calls_in_flight_finish_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script(gather=2)

    async def run():
        executor = CallExecutor(store, script, max_in_flight=1, timeout=30)
        executing = asyncio.gather(
            *(executor.execute(job, 0, a_call(slot=s, sample=s)) for s in range(3))
        )
        await script.sent.wait()
        executor.stopping.set()
        script.gathered.set()
        return await executing

    assert asyncio.run(run()) == [CallStatus.SETTLED, CallStatus.OPEN, CallStatus.OPEN]
    assert len(script.attempts) == 1
    assert call_record(store, job).text == "four"


def test_a_backoff_ends_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script(RateLimitError(MODEL, "slow down", 600))

    async def run():
        executor = CallExecutor(store, script, max_in_flight=1, timeout=30)
        execution = asyncio.create_task(executor.execute(job, 0, a_call()))
        await script.sent.wait()
        executor.stopping.set()
        return await asyncio.wait_for(execution, 10)

    assert asyncio.run(run()) is CallStatus.OPEN
    assert len(script.attempts) == 1


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_the_calls_in_flight_keep_to_the_limit_of_the_process(store, max_in_flight):
    job, script = a_priced_job(store), Script(gather=max_in_flight)

    executed(
        store,
        job,
        [a_call(slot=s, sample=s) for s in range(9)],
        script,
        max_in_flight=max_in_flight,
    )

    assert (script.peak, len(script.attempts)) == (max_in_flight, 9)


def test_a_higher_limit_of_a_model_does_not_exceed_that_of_the_process(store):
    (job, many), script = a_limited_job(store, max_in_flight=7), Script(gather=2)

    executed(
        store,
        job,
        [a_call(slot=s, sample=s, model=many) for s in range(7)],
        script,
        max_in_flight=2,
    )

    assert (script.peak, len(script.attempts)) == (2, 7)


def test_the_calls_in_flight_keep_to_the_limit_of_their_model(store):
    (job, few), script = a_limited_job(store, max_in_flight=2), Script(gather=4)
    calls = [a_call(slot=s, sample=s, model=few) for s in range(5)]
    others = [a_call(slot=s, sample=s) for s in range(5, 7)]
    limited_in_flight: list[int] = []

    class Counting(Script):
        async def complete(self, call: Call, attempt_id: str) -> Reply:
            limited_in_flight.append(call.model == few)
            reply = await script.complete(call, attempt_id)
            limited_in_flight.remove(call.model == few)
            peaks.append(sum(limited_in_flight))
            return reply

    peaks: list[int] = []

    ends = executed(store, job, [*calls, *others], Counting())

    assert ends == [CallStatus.SETTLED] * 7
    assert script.peak == 4
    assert max(peaks) <= 2


def test_a_call_that_waits_for_its_model_takes_no_slot(store):
    (job, few), script = a_limited_job(store, max_in_flight=1), Script(gather=2)
    calls = [*(a_call(slot=s, sample=s, model=few) for s in range(3)), a_call(slot=3, sample=3)]

    ends = executed(store, job, calls, script, max_in_flight=2)

    assert ends == [CallStatus.SETTLED] * 4
    assert script.peak == 2


def test_an_attempt_with_an_unexpected_error_is_in_doubt(store):
    job, script = a_priced_job(store), Script(ValueError("a bug"), FOUR)

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    call = call_record(store, job)
    assert [(a.state, a.outcome, a.cost) for a in call.attempts] == [
        ("in_doubt", "broken_reply", None),
        ("billed", "ok", 15),
    ]
    assert call.attempts[0].detail == "ValueError in the provider"
    assert money(store, job) == (15, 0, PRICE.max_cost(a_call()))


def test_a_call_has_two_attempts_in_doubt_at_most(store):
    job, script = a_priced_job(store), Script(CallTimeoutError(MODEL, "slow"))

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert len(script.attempts) == 2
    assert call_record(store, job).failure == "call_timeout, 2 attempts in doubt: slow"
    assert money(store, job) == (0, 0, 2 * PRICE.max_cost(a_call()))


def test_a_call_over_which_too_many_processes_died_is_not_sent_again(store):
    job, script = a_priced_job(store), Script()
    for n in range(1, MAX_PROCESS_DEATHS + 1):
        start = a_start(
            job, expires_after=-1, owner="elsewhere:1:1", fingerprint=a_call().fingerprint
        )
        admission = store.attempt_writer.admit(start).result(30)
        assert isinstance(admission, Admitted)
        assert admission.counted_attempts == n
        store.recover()

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.SETTLED]
    assert script.attempts == []
    assert call_record(store, job).failure == "poison: 3 processes died over it"


def test_the_same_call_executed_twice_at_once_is_sent_once(store):
    job, script = a_priced_job(store), Script()

    ends = executed(store, job, [a_call(), a_call()], script)

    assert ends == [CallStatus.SETTLED, CallStatus.SETTLED]
    assert len(script.attempts) == 1


def test_two_calls_with_the_same_request_at_once_send_it_once(store):
    job, script = a_priced_job(store), Script()

    ends = executed(store, job, [a_call(), a_call()], script, ixs=[0, 1])

    assert ends == [CallStatus.SETTLED, CallStatus.SETTLED]
    assert len(script.attempts) == 1
    assert sum(call_record(store, job, ix=ix).cached for ix in (0, 1)) == 1


@pytest.mark.parametrize("usage", [Usage(), Usage(prompt_tokens=10), Usage(completion_tokens=5)])
def test_a_reply_without_token_counts_costs_the_maximum(store, usage):
    job, script = a_priced_job(store), Script(replace(FOUR, usage=usage))

    executed(store, job, [a_call()], script)

    (attempt,) = call_record(store, job).attempts
    assert attempt.cost == PRICE.max_cost(a_call())
    with store.database.read_transaction() as connection:
        assert connection.scalars(sa.select(schema.attempts.c.estimated)).all() == [True]
    assert money(store, job) == (PRICE.max_cost(a_call()), 0, 0)


def test_a_model_without_a_price_is_billed_without_a_cost(store):
    job = a_running_job(store, prices={MODEL: None})

    executed(store, job, [a_call()], Script())

    (attempt,) = call_record(store, job).attempts
    assert (attempt.state, attempt.cost) == ("billed", None)
    assert money(store, job) == (0, 0, 0)
    assert store.usage.total(job.id).unpriced_calls == 1


def test_a_blank_reply_settles_its_call_and_is_paid(store):
    job, script = a_priced_job(store), Script(replace(FOUR, text=""))

    executed(store, job, [a_call()], script)

    assert (call_record(store, job).text, call_record(store, job).failure) == ("", None)
    assert money(store, job) == (15, 0, 0)


@pytest.mark.parametrize("halted", ["paused", "stopped", "cancelled"])
def test_the_calls_of_a_halted_job_stay_open(store, halted):
    job, script = a_priced_job(store), Script()
    store.jobs.change_state(job.id, halted, from_states=["running"])

    ends = executed(store, job, [a_call()], script)

    assert ends == [CallStatus.OPEN]
    assert script.attempts == []


def test_a_reply_is_stored_even_if_the_waiting_task_was_cancelled(store):
    job = a_priced_job(store)
    executing: list[asyncio.Task[CallStatus]] = []

    class Cancelling(Script):
        async def complete(self, call: Call, attempt_id: str) -> Reply:
            reply = await super().complete(call, attempt_id)
            # The executing task is cancelled just when the reply has arrived.
            asyncio.get_running_loop().call_soon(executing[0].cancel)
            return reply

    async def run():
        executor = CallExecutor(store, Cancelling(), max_in_flight=1, timeout=30)
        executing.append(asyncio.create_task(executor.execute(job, 0, a_call())))
        await asyncio.wait(executing)
        return executing[0].cancelled()

    assert asyncio.run(run())
    # The writer works in order: this entry is committed after the reply.
    store.attempt_writer.admit(a_start(job, slot=9)).result(30)
    assert call_record(store, job).text == "four"


def test_a_call_cancelled_during_admission_does_not_block_other_calls(store):
    job, script = a_priced_job(store), Script()

    async def run():
        executor = CallExecutor(store, script, max_in_flight=8, timeout=30)
        with store.database.write_transaction():
            executing = asyncio.create_task(executor.execute(job, 0, a_call()))
            for _ in range(20):
                await asyncio.sleep(0)
            executing.cancel()
            await asyncio.wait([executing])
        return await asyncio.wait_for(executor.execute(job, 0, a_call(slot=1, sample=1)), 3)

    assert asyncio.run(run()) is CallStatus.SETTLED


def test_a_call_that_times_out_is_in_doubt(store):
    job = a_priced_job(store)
    script = Script(FOUR, gather=99)

    async def run():
        executor = CallExecutor(store, script, max_in_flight=1, timeout=-30)
        executing = asyncio.create_task(executor.execute(job, 0, a_call()))
        await script.sent.wait()
        executor.stopping.set()
        return await executing

    assert asyncio.run(run()) is CallStatus.OPEN
    (attempt,) = call_record(store, job).attempts
    assert (attempt.state, attempt.outcome) == ("in_doubt", "call_timeout")


def test_every_item_has_calls_of_its_own(store):
    job = a_priced_job(store, questions=[a_question(row="a"), a_question("How deep?", row="b")])
    script = Script()

    executed(store, job, [a_call(), a_call("How deep?")], script, ixs=[0, 1])

    assert sorted(script.attempts) == [f"{job.id}/{ix}/0.0.0.0/1" for ix in (0, 1)]
    assert call_record(store, job, ix=1).text == "four"


#: How much faster time passes for the loop than for the database.
_PACE = 200


class _Hasty(selectors.DefaultSelector):
    def select(self, timeout=None):
        return super().select(timeout and timeout / _PACE)


class Fast(asyncio.SelectorEventLoop):
    """A loop on which minutes pass within a second."""

    def __init__(self) -> None:
        super().__init__(_Hasty())

    def time(self) -> float:
        return super().time() * _PACE


def fast(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=Fast) as runner:
        return runner.run(work)


def loop_now() -> float:
    return asyncio.get_running_loop().time()


class Outage:
    """A provider with one model that is down for some seconds from the first request on."""

    def __init__(self, seconds: float, error: ProviderError | None = None, *, most: int = 0):
        self.seconds = seconds
        self.error = error or ProviderDownError(MODEL, "away")
        self.began: float | None = None
        #: Time, model and whether it was rejected, for each request.
        self.requests: list[tuple[float, str, bool]] = []
        #: Set when it has rejected ``most`` requests.
        self.enough, self.most = asyncio.Event(), most

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        del attempt_id
        self.began = loop_now() if self.began is None else self.began
        at = loop_now() - self.began
        is_down = call.model.model == MODEL and at < self.seconds
        self.requests.append((at, call.model.model, is_down))
        await asyncio.sleep(0.2)
        if is_down:
            if self.refused >= self.most:
                self.enough.set()
            raise self.error
        return FOUR

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def refused(self) -> int:
        return sum(down for _, _, down in self.requests)


def through(store, job, calls: Sequence[Call], provider, *, max_in_flight=8) -> list[CallStatus]:
    """The status of each call, on the fast loop."""

    async def run():
        executor = CallExecutor(store, provider, max_in_flight=max_in_flight, timeout=6000)
        return await asyncio.gather(*(executor.execute(job, 0, call) for call in calls))

    ends: list[CallStatus] = fast(run())
    return ends


def some_calls(n: int, model: Model | str = MODEL, first: int = 0) -> list[Call]:
    return [a_call(slot=slot, sample=slot, model=model) for slot in range(first, first + n)]


def failures(store, job) -> list[str]:
    return [c.failure for c in store.item_results.calls(job.id, 0) if c.failure]


def test_an_outage_of_minutes_costs_a_few_requests_and_fails_no_call(store):
    job, provider = a_priced_job(store), Outage(300)

    with capture_logs() as logs:
        ends = through(store, job, some_calls(60), provider)

    assert ends == [CallStatus.SETTLED] * 60
    assert failures(store, job) == []
    # Calls in flight when it began, and one probe for each wait.
    assert provider.refused <= 8 + 5 + 12
    logged = [log for log in logs if log["event"] in ("circuit_opened", "circuit_closed")]
    assert [log["event"] for log in logged] == ["circuit_opened"] * (len(logged) - 1) + [
        "circuit_closed"
    ]
    assert set(logged[0]) == {"event", "log_level", "model", "seconds", "reason", "why"}
    assert (logged[0]["model"], logged[0]["reason"]) == (MODEL, "provider_down")


def test_an_outage_behind_a_proxy_fails_no_call_and_puts_its_attempts_in_doubt(store):
    job = a_priced_job(store)
    provider = Outage(300, ProviderFailedError(MODEL, "502"))

    ends = through(store, job, some_calls(60), provider)

    assert ends == [CallStatus.SETTLED] * 60
    assert failures(store, job) == []
    assert provider.refused <= 8 + 5 + 12
    # The provider may have served them, so the ledger counts all of them.
    attempts = [a for c in store.item_results.calls(job.id, 0) for a in c.attempts]
    assert sum(a.state == "in_doubt" for a in attempts) == provider.refused


def test_a_call_that_alone_makes_its_server_fail_is_tried_twice(store):
    class Poison(Outage):
        async def complete(self, call: Call, attempt_id: str) -> Reply:
            self.seconds = 1e9 if call.key.request_index == 3 else 0.0
            return await super().complete(call, attempt_id)

    job, provider = a_priced_job(store), Poison(0, ProviderFailedError(MODEL, "500"))

    through(store, job, some_calls(60), provider)

    assert provider.refused == 2
    assert failures(store, job) == ["provider_failed, 2 attempts in doubt: 500"]


def test_a_single_call_survives_an_outage_although_it_is_every_probe(store):
    job, provider = a_priced_job(store), Outage(400)

    ends = through(store, job, some_calls(1), provider)

    assert ends == [CallStatus.SETTLED]
    assert provider.refused > MAX_ATTEMPTS
    assert call_record(store, job).text == "four"


def test_calls_of_a_model_that_stays_down_fail_after_the_longest_outage(store):
    job, provider = a_priced_job(store), Outage(1e9)

    ends = through(store, job, some_calls(12), provider)

    assert ends == [CallStatus.SETTLED] * 12
    failed = failures(store, job)
    assert len(failed) == 12
    assert {f.split(", ")[0] for f in failed} == {"provider_down"}
    assert all("no call answered for " in f and f.endswith(" min: away") for f in failed)
    last = provider.requests[-1][0]
    assert MAX_OUTAGE <= last < MAX_OUTAGE + 2 * MAX_BACKOFF
    # Each call has a last attempt.
    assert provider.refused < 8 + 5 + 25 + 12


def test_an_open_circuit_does_not_hold_up_calls_of_other_models(store):
    other = "scripted/rough"
    architecture = an_architecture({"type": "generator", "samples": 9})
    job = a_running_job(store, architecture=architecture, prices={MODEL: PRICE, other: PRICE})
    provider = Outage(300)
    calls = [*some_calls(20), *some_calls(20, other, first=20)]

    ends = through(store, job, calls, provider, max_in_flight=2)

    assert ends == [CallStatus.SETTLED] * 40
    others = [at for at, model, _ in provider.requests if model == other]
    assert len(others) == 20
    assert max(others) < 150


def test_the_same_model_at_another_address_has_its_own_circuit(store):
    here, there = (Model(model=MODEL, api_base=f"http://{host}/v1") for host in "ab")

    class Half(Outage):
        async def complete(self, call: Call, attempt_id: str) -> Reply:
            if call.model == there:
                where.append(loop_now())
                return FOUR
            return await super().complete(call, attempt_id)

    where: list[float] = []
    job, provider = a_priced_job(store), Half(200)

    ends = through(
        store,
        job,
        [*some_calls(9, here), *some_calls(9, there, first=9)],
        provider,
        max_in_flight=3,
    )

    assert ends == [CallStatus.SETTLED] * 18
    assert provider.began is not None
    assert max(where) < provider.began + 100


class Busy(Outage):
    """Rejects the first requests, all of them or only those of the first call."""

    def __init__(self, error: RateLimitError, times: int, *, of_first: bool = False):
        super().__init__(0, error)
        self.times, self.of_first = times, of_first

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        del attempt_id
        is_down = self.refused < self.times and (call.key.request_index == 0 or not self.of_first)
        self.requests.append((loop_now(), call.model.model, is_down))
        await asyncio.sleep(0.2)
        if is_down:
            raise self.error
        return FOUR


def test_a_retry_after_for_all_calls_holds_for_the_model(store):
    refusal = RateLimitError(MODEL, "slow down", 100)
    job, provider = a_priced_job(store), Busy(refusal, FAILURE_THRESHOLD)

    ends = through(store, job, some_calls(30), provider, max_in_flight=1)

    assert ends == [CallStatus.SETTLED] * 30
    assert failures(store, job) == []
    when = [at for at, _, _ in provider.requests]
    assert when[FAILURE_THRESHOLD] - when[FAILURE_THRESHOLD - 1] >= 100


def test_a_call_that_alone_is_rate_limited_is_retried_until_it_is_answered(store):
    job = a_priced_job(store)
    provider = Busy(RateLimitError(MODEL, "busy"), MAX_ATTEMPTS + 3, of_first=True)

    ends = through(store, job, some_calls(20), provider, max_in_flight=4)

    assert ends == [CallStatus.SETTLED] * 20
    assert failures(store, job) == []
    outcomes = Counter(a.outcome for a in call_record(store, job).attempts)
    assert outcomes == {"rate_limit": MAX_ATTEMPTS + 3, "ok": 1}


def test_a_daily_limit_stops_the_job_after_a_few_rejections_with_its_rows_open(store):
    refusal = RateLimitError(MODEL, "free-models-per-day", 21_600)
    refusal.long_wait_reason = "its limit lasts until noon"
    job, provider = a_priced_job(store), Outage(1e9, refusal)

    ends = through(store, job, some_calls(60), provider, max_in_flight=4)

    assert ends == [CallStatus.OPEN] * 60
    assert failures(store, job) == []
    stopped = store.jobs.get(job.id)
    assert (stopped.state, stopped.reason) == (
        "stopped",
        f"{MODEL}: free-models-per-day; its limit lasts until noon",
    )
    assert len(provider.requests) <= FAILURE_THRESHOLD + 4


@pytest.mark.parametrize("max_in_flight", [1, 8])
def test_calls_behind_an_open_circuit_end_at_once_when_the_process_is_about_to_stop(
    store, max_in_flight
):
    job, provider = (
        a_priced_job(store),
        Outage(
            1e9, RateLimitError(MODEL, "slow down", 600), most=max(max_in_flight, FAILURE_THRESHOLD)
        ),
    )

    async def run():
        executor = CallExecutor(store, provider, max_in_flight=max_in_flight, timeout=30)
        executing = asyncio.gather(*(executor.execute(job, 0, call) for call in some_calls(50)))
        await provider.enough.wait()
        await asyncio.sleep(0.5)
        executor.stopping.set()
        return await asyncio.wait_for(executing, 10)

    assert asyncio.run(run()) == [CallStatus.OPEN] * 50
    assert len(provider.requests) == max(max_in_flight, FAILURE_THRESHOLD)


def test_a_probe_with_nothing_to_send_lets_the_next_call_probe(store):
    job, provider = a_priced_job(store), Outage(20)
    # Each call is executed twice: the second finds it settled, or in flight.
    calls = [call for call in some_calls(15) for _ in range(2)]

    ends = through(store, job, calls, provider)

    assert ends == [CallStatus.SETTLED] * 30
    assert max(at for at, _, _ in provider.requests) < MAX_BACKOFF


def test_the_calls_of_a_job_cancelled_behind_an_open_circuit_stay_open(store):
    job, provider = a_priced_job(store), Outage(1e9, most=FAILURE_THRESHOLD)

    async def run():
        executor = CallExecutor(store, provider, max_in_flight=8, timeout=6000)
        executing = asyncio.gather(*(executor.execute(job, 0, call) for call in some_calls(40)))
        await provider.enough.wait()
        store.jobs.change_state(job.id, "cancelled", from_states=["running"])
        ends = await executing
        return ends, loop_now() - (provider.began or 0)

    ends, seconds = fast(run())

    assert ends == [CallStatus.OPEN] * 40
    assert seconds < MAX_OUTAGE
    assert provider.refused < 8 + 5 + 3
