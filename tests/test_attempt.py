"""The placer: one request an attempt, settled once, tried again here and nowhere else."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from archon_batch.archon import Call, Model, Reply, Usage
from archon_batch.attempt import End, Placer
from archon_batch.errors import (
    BadCallError,
    CallTimeoutError,
    CredentialsError,
    PromptTooLongError,
    QuotaError,
    RateLimitError,
    RefusedError,
    UnknownModelError,
)
from archon_batch.ledger import Price
from archon_batch.store import Started, tables
from archon_batch.store.begin import MOST_DEATHS
from tests.builders import MODEL, a_call, a_question, a_running_job, a_start, an_architecture

#: A nano-dollar a token.
PRICE = Price(1_000_000, 1_000_000)

FOUR = Reply("four", usage=Usage(10, 5), finish="stop")


class Script:
    """A provider that ends calls as it is told, the last way for all that come after."""

    def __init__(self, *ends: Reply | Exception, gather: int = 0):
        self.ends = list(ends) or [FOUR]
        self.attempts: list[str] = []
        self.in_flight = 0
        self.peak = 0
        self.sent = asyncio.Event()
        #: Answers nobody before so many are in flight at once.
        self.gathered = asyncio.Event()
        self.gather = gather

    async def answer(self, call: Call, attempt: str) -> Reply:
        del call
        self.attempts.append(attempt)
        self.sent.set()
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.in_flight >= self.gather:
            self.gathered.set()
        await self.gathered.wait()
        # Whoever may come in as well comes in now.
        for _ in range(20):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if isinstance(end, Exception):
            raise end
        return end

    async def close(self) -> None:
        """Nothing is open."""


def placed(store, job, calls: Sequence[Call], script, *, ixs=None, width=8, timeout=30.0):
    """How the handling of each call ended, all of them placed at once."""

    async def place():
        placer = Placer(store, script, max_in_flight=width, timeout=timeout)
        where = ixs or [0] * len(calls)
        return await asyncio.gather(
            *(placer.place(job, ix, call) for ix, call in zip(where, calls, strict=True))
        )

    return asyncio.run(place())


def a_priced_job(store, **knobs):
    architecture = an_architecture({"type": "generator", "samples": 9})
    return a_running_job(store, architecture=architecture, prices={MODEL: PRICE}, **knobs)


def line(store, job, slot=0, ix=0):
    return next(c for c in store.endings.calls(job.id, ix) if c.key == f"0.0.{slot}.0")


def money(store, job):
    found = store.jobs.get(job.id)
    return found.spent, found.reserved, found.in_doubt


def test_an_answer_is_one_request_and_one_attempt_on_record(store):
    job, script = a_priced_job(store), Script()

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert script.attempts == [f"{job.id}/0/0.0.0.0/1"]
    call = line(store, job)
    assert (call.text, call.kind, call.model) == ("four", "generator", MODEL)
    (attempt,) = call.attempts
    assert (attempt.state, attempt.cost, attempt.prompt_tokens) == ("billed", 15, 10)
    assert money(store, job) == (15, 0, 0)


def test_the_attempt_is_on_record_with_its_highest_price_while_it_is_sent(store):
    job, call = a_priced_job(store), a_call()
    seen = []

    class Looking(Script):
        async def answer(self, call: Call, attempt: str) -> Reply:
            seen.append((money(store, job), line(store, job).attempts[0].state))
            return await super().answer(call, attempt)

    placed(store, job, [call], Looking())

    assert seen == [((0, PRICE.most(call), 0), "sending")]


def test_a_settled_call_is_not_sent_again(store):
    job, script = a_priced_job(store), Script()
    placed(store, job, [a_call()], script)

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert len(script.attempts) == 1


def test_a_request_that_was_paid_for_is_found_again(store):
    job, other, script = a_priced_job(store), a_priced_job(store, name="other"), Script()
    placed(store, job, [a_call()], script)

    ends = placed(store, other, [a_call(slot=3)], script)

    assert ends == [End.SETTLED]
    assert len(script.attempts) == 1
    assert (line(store, other, 3).text, line(store, other, 3).saved) == ("four", 15)


def test_a_job_that_wants_no_completions_pays_for_its_own(store):
    job, other = a_priced_job(store), a_priced_job(store, name="other", reuse=False)
    script = Script()
    placed(store, job, [a_call()], script)

    placed(store, other, [a_call(), a_call()], script, ixs=[0, 1])

    assert len(script.attempts) == 3


def test_what_may_do_is_tried_again_and_both_attempts_are_on_record(store):
    job = a_priced_job(store)
    script = Script(RateLimitError(MODEL, "patience", 0.01), FOUR)

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert script.attempts == [f"{job.id}/0/0.0.0.0/{n}" for n in (1, 2)]
    call = line(store, job)
    assert [(a.state, a.outcome, a.cost) for a in call.attempts] == [
        ("not_billed", "rate_limit", 0),
        ("billed", "ok", 15),
    ]
    assert (call.text, call.attempts[0].why) == ("four", "patience")
    first, second = call.attempts
    assert first.ended_at is not None
    assert second.begun_at - first.ended_at >= timedelta(seconds=0.45)
    assert money(store, job) == (15, 0, 0)


@pytest.mark.parametrize("error", [RefusedError, BadCallError, PromptTooLongError])
def test_what_would_end_alike_settles_its_call_with_a_failure(store, error):
    job, script = a_priced_job(store), Script(error(MODEL, "no"))

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert len(script.attempts) == 1
    call = line(store, job)
    assert (call.text, call.failure) == (None, f"{call.attempts[0].outcome}: no")
    assert call.attempts[0].state == "not_billed"
    assert money(store, job) == (0, 0, 0)
    assert store.jobs.get(job.id).state == "running"


@pytest.mark.parametrize("error", [CredentialsError, UnknownModelError, QuotaError])
def test_what_every_call_would_end_with_stops_the_job_and_leaves_the_call_open(store, error):
    job, script = a_priced_job(store), Script(error(MODEL, "who are you?"))

    ends = placed(store, job, [a_call(slot=slot) for slot in range(3)], script, width=1)

    assert ends == [End.OPEN] * 3
    assert len(script.attempts) == 1
    stopped = store.jobs.get(job.id)
    assert (stopped.state, stopped.reason) == ("stopped", f"{MODEL}: who are you?")
    assert line(store, job).failure is None
    assert store.items.open_in_shard(job.id, 0)[0].replies == {}


def test_two_calls_that_stop_a_job_at_once_stop_it_once(store):
    job = a_priced_job(store)
    script = Script(CredentialsError(MODEL, "first"), QuotaError(MODEL, "second"), gather=2)

    placed(store, job, [a_call(slot=slot, sample=slot) for slot in range(2)], script)

    assert store.jobs.get(job.id).reason in (f"{MODEL}: first", f"{MODEL}: second")
    assert store.jobs.get(job.id).state == "stopped"


def test_a_budget_that_is_reached_pauses_the_job(store):
    call = a_call()
    job = a_priced_job(store, budget=PRICE.most(call) + 14)
    script = Script()

    ends = placed(store, job, [a_call(slot=s, sample=s) for s in range(3)], script, width=1)

    assert ends == [End.SETTLED, End.OPEN, End.OPEN]
    assert len(script.attempts) == 1
    paused = store.jobs.get(job.id)
    assert (paused.state, paused.reason) == ("paused", "the budget is reached")


def test_a_call_waits_while_calls_in_flight_hold_what_is_left_of_the_budget(store):
    call = a_call()
    job = a_priced_job(store, budget=PRICE.most(call) + 15)
    script = Script()

    ends = placed(store, job, [a_call(slot=s, sample=s) for s in range(2)], script)

    assert ends == [End.SETTLED, End.SETTLED]
    assert (script.peak, money(store, job)) == (1, (30, 0, 0))


def test_nothing_begins_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script()

    async def place():
        placer = Placer(store, script, max_in_flight=8, timeout=30)
        placer.stopping.set()
        return await placer.place(job, 0, a_call())

    assert asyncio.run(place()) is End.OPEN
    assert script.attempts == []
    assert store.endings.calls(job.id, 0) == []


def test_what_is_in_flight_lands_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script(gather=2)

    async def place():
        placer = Placer(store, script, max_in_flight=1, timeout=30)
        places = asyncio.gather(*(placer.place(job, 0, a_call(slot=s, sample=s)) for s in range(3)))
        await script.sent.wait()
        placer.stopping.set()
        script.gathered.set()
        return await places

    assert asyncio.run(place()) == [End.SETTLED, End.OPEN, End.OPEN]
    assert len(script.attempts) == 1
    assert line(store, job).text == "four"


def test_a_wait_before_another_attempt_ends_when_the_process_is_about_to_stop(store):
    job, script = a_priced_job(store), Script(RateLimitError(MODEL, "patience", 600))

    async def place():
        placer = Placer(store, script, max_in_flight=1, timeout=30)
        ending = asyncio.create_task(placer.place(job, 0, a_call()))
        await script.sent.wait()
        placer.stopping.set()
        return await asyncio.wait_for(ending, 10)

    assert asyncio.run(place()) is End.OPEN
    assert len(script.attempts) == 1


@pytest.mark.parametrize("width", [1, 3])
def test_no_more_calls_are_in_flight_than_the_process_may_have(store, width):
    job, script = a_priced_job(store), Script(gather=width)

    placed(store, job, [a_call(slot=s, sample=s) for s in range(9)], script, width=width)

    assert (script.peak, len(script.attempts)) == (width, 9)


def test_a_model_that_may_have_more_has_no_more_than_the_process(store):
    job, script = a_priced_job(store), Script(gather=2)
    many = Model(model=MODEL, max_in_flight=7)

    placed(store, job, [a_call(slot=s, sample=s, model=many) for s in range(7)], script, width=2)

    assert (script.peak, len(script.attempts)) == (2, 7)


def test_no_more_calls_are_in_flight_than_their_model_may_have(store):
    job, script = a_priced_job(store), Script(gather=4)
    few = Model(model=MODEL, max_in_flight=2)
    calls = [a_call(slot=s, sample=s, model=few) for s in range(5)]
    others = [a_call(slot=s, sample=s) for s in range(5, 7)]
    of_few: list[int] = []

    class Counting(Script):
        async def answer(self, call: Call, attempt: str) -> Reply:
            of_few.append(call.model == few)
            reply = await script.answer(call, attempt)
            of_few.remove(call.model == few)
            peaks.append(sum(of_few))
            return reply

    peaks: list[int] = []

    ends = placed(store, job, [*calls, *others], Counting())

    assert ends == [End.SETTLED] * 7
    assert script.peak == 4
    assert max(peaks) <= 2


def test_who_waits_for_a_model_holds_no_place_that_others_could_use(store):
    job, script = a_priced_job(store), Script(gather=2)
    few = Model(model=MODEL, max_in_flight=1)
    calls = [*(a_call(slot=s, sample=s, model=few) for s in range(3)), a_call(slot=3, sample=3)]

    ends = placed(store, job, calls, script, width=2)

    assert ends == [End.SETTLED] * 4
    assert script.peak == 2


def test_an_unexpected_end_is_in_doubt_and_not_lost(store):
    job, script = a_priced_job(store), Script(ValueError("a bug"), FOUR)

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    call = line(store, job)
    assert [(a.state, a.outcome, a.cost) for a in call.attempts] == [
        ("in_doubt", "broken_reply", None),
        ("billed", "ok", 15),
    ]
    assert call.attempts[0].why == "ValueError in the gateway"
    assert money(store, job) == (15, 0, PRICE.most(a_call()))


def test_a_call_has_so_many_attempts_in_doubt_and_no_more(store):
    job, script = a_priced_job(store), Script(CallTimeoutError(MODEL, "slow"))

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert len(script.attempts) == 2
    assert line(store, job).failure == "call_timeout, 2 attempts in doubt: slow"
    assert money(store, job) == (0, 0, 2 * PRICE.most(a_call()))


def test_a_call_whose_process_died_as_often_as_it_may_is_not_sent_again(store):
    job, script = a_priced_job(store), Script()
    for n in range(1, MOST_DEATHS + 1):
        start = a_start(job, lasts=-1, owner="elsewhere:1:1", fingerprint=a_call().fingerprint)
        begun = store.clerk.begin(start).result(30)
        assert isinstance(begun, Started)
        assert begun.tried == n
        store.recover()

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.SETTLED]
    assert script.attempts == []
    assert line(store, job).failure == "poison: 3 processes died over it"


def test_two_places_of_the_same_call_at_once_send_it_once(store):
    job, script = a_priced_job(store), Script()

    ends = placed(store, job, [a_call(), a_call()], script)

    assert ends == [End.SETTLED, End.SETTLED]
    assert len(script.attempts) == 1


def test_two_calls_with_the_same_request_at_once_send_it_once(store):
    job, script = a_priced_job(store), Script()

    ends = placed(store, job, [a_call(), a_call()], script, ixs=[0, 1])

    assert ends == [End.SETTLED, End.SETTLED]
    assert len(script.attempts) == 1
    assert sum(line(store, job, ix=ix).cached for ix in (0, 1)) == 1


@pytest.mark.parametrize("usage", [Usage(), Usage(prompt=10), Usage(completion=5)])
def test_a_reply_without_its_tokens_costs_the_most_it_could(store, usage):
    job, script = a_priced_job(store), Script(replace(FOUR, usage=usage))

    placed(store, job, [a_call()], script)

    (attempt,) = line(store, job).attempts
    assert attempt.cost == PRICE.most(a_call())
    with store.database.reading() as connection:
        assert connection.scalars(sa.select(tables.attempts.c.estimated)).all() == [True]
    assert money(store, job) == (PRICE.most(a_call()), 0, 0)


def test_a_model_without_a_price_is_billed_without_a_cost(store):
    job = a_running_job(store, prices={MODEL: None})

    placed(store, job, [a_call()], Script())

    (attempt,) = line(store, job).attempts
    assert (attempt.state, attempt.cost) == ("billed", None)
    assert money(store, job) == (0, 0, 0)
    assert store.accounts.total(job.id).unpriced_calls == 1


def test_a_blank_reply_settles_its_call_and_is_paid(store):
    job, script = a_priced_job(store), Script(replace(FOUR, text=""))

    placed(store, job, [a_call()], script)

    assert (line(store, job).text, line(store, job).failure) == ("", None)
    assert money(store, job) == (15, 0, 0)


@pytest.mark.parametrize("halted", ["paused", "stopped", "cancelled"])
def test_the_calls_of_a_job_that_does_not_run_stay_open(store, halted):
    job, script = a_priced_job(store), Script()
    store.jobs.move(job.id, halted, only_from=["running"])

    ends = placed(store, job, [a_call()], script)

    assert ends == [End.OPEN]
    assert script.attempts == []


def test_an_answer_is_put_on_record_though_nobody_waits_for_it_any_more(store):
    job = a_priced_job(store)
    placing: list[asyncio.Task[End]] = []

    class Leaving(Script):
        async def answer(self, call: Call, attempt: str) -> Reply:
            reply = await super().answer(call, attempt)
            # Whoever placed the call goes away just when its answer has come.
            asyncio.get_running_loop().call_soon(placing[0].cancel)
            return reply

    async def place():
        placer = Placer(store, Leaving(), max_in_flight=1, timeout=30)
        placing.append(asyncio.create_task(placer.place(job, 0, a_call())))
        await asyncio.wait(placing)
        return placing[0].cancelled()

    assert asyncio.run(place())
    # What the clerk is handed after it is answered after it.
    store.clerk.begin(a_start(job, slot=9)).result(30)
    assert line(store, job).text == "four"


def test_a_call_that_is_given_up_while_it_begins_stops_no_other(store):
    job, script = a_priced_job(store), Script()

    async def place():
        placer = Placer(store, script, max_in_flight=8, timeout=30)
        with store.database.writing():
            placing = asyncio.create_task(placer.place(job, 0, a_call()))
            for _ in range(20):
                await asyncio.sleep(0)
            placing.cancel()
            await asyncio.wait([placing])
        return await asyncio.wait_for(placer.place(job, 0, a_call(slot=1, sample=1)), 3)

    assert asyncio.run(place()) is End.SETTLED


def test_an_answer_that_takes_too_long_is_in_doubt(store):
    job = a_priced_job(store)
    script = Script(FOUR, gather=99)

    async def place():
        placer = Placer(store, script, max_in_flight=1, timeout=-30)
        placing = asyncio.create_task(placer.place(job, 0, a_call()))
        await script.sent.wait()
        placer.stopping.set()
        return await placing

    assert asyncio.run(place()) is End.OPEN
    (attempt,) = line(store, job).attempts
    assert (attempt.state, attempt.outcome) == ("in_doubt", "call_timeout")


def test_every_item_has_calls_of_its_own(store):
    job = a_priced_job(store, questions=[a_question(row="a"), a_question("How deep?", row="b")])
    script = Script()

    placed(store, job, [a_call(), a_call("How deep?")], script, ixs=[0, 1])

    assert sorted(script.attempts) == [f"{job.id}/{ix}/0.0.0.0/1" for ix in (0, 1)]
    assert line(store, job, ix=1).text == "four"
