"""Lines: calls leave at their moment, whatever happens on the way."""

import asyncio
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from archon_batch.archon import Model, Reply, Usage
from archon_batch.calls import model_limiter
from archon_batch.calls.executor import CallExecutor, CallStatus
from archon_batch.calls.limit_backends import DatabaseLimitBackend
from archon_batch.calls.model_limiter import ModelLimiter, Permit
from archon_batch.calls.model_limiters import ModelLimiters
from archon_batch.errors import RateLimitError, StoreUnavailableError
from archon_batch.rate_limits import MAX_LATENESS, RateLimits, RemainingLimits
from archon_batch.store import ModelKey, Store
from tests.acceptance.stage import until
from tests.builders import MODEL, a_call, a_running_job, an_architecture
from tests.test_rate_limits import most_within

KEY = ModelKey(MODEL)
FOUR = Reply("four", usage=Usage(10, 5), finish_reason="stop")


class Provider:
    """Answers all, a little later, and writes down when each came."""

    def __init__(
        self, *ends: Exception, seconds: float = 0.05, headroom: RemainingLimits | None = None
    ):
        self.ends = list(ends)
        self.seconds = seconds
        self.headroom = headroom
        self.came: list[float] = []
        self.first = asyncio.Event()
        self.in_flight: list[int] = [0]

    async def complete(self, call, attempt_id):
        del call, attempt_id
        self.came.append(time.monotonic())
        self.first.set()
        self.in_flight.append(self.in_flight[-1] + 1)
        await asyncio.sleep(self.seconds)
        self.in_flight.append(self.in_flight[-1] - 1)
        if self.ends:
            raise self.ends.pop(0)
        return replace(FOUR, remaining_limits=self.headroom)

    async def close(self):
        """Nothing is open."""


def a_limited_job(store: Store, samples: int = 40, name: str = "nightly", **limits: int):
    architecture = an_architecture(
        {"type": "generator", "samples": samples, "model": "one"},
        models={"one": {"model": MODEL, **limits}},
    )
    return a_running_job(store, architecture=architecture, name=name)


def calls(count: int, first: int = 0):
    return [a_call(slot=slot, sample=slot) for slot in range(first, first + count)]


def placed(store: Store, job, wanted, *providers: Provider, width: int = 64, meanwhile=None):
    """How the calls ended, shared out among as many placers as there are providers."""

    async def run():
        placers = [CallExecutor(store, p, max_in_flight=width, timeout=30) for p in providers]
        work = [placers[n % len(placers)].execute(job, 0, call) for n, call in enumerate(wanted)]
        other = [asyncio.to_thread(meanwhile)] if meanwhile else []
        ends = (await asyncio.gather(*work, *other))[: len(work)]
        for placer in placers:
            await placer.close()
        return ends

    return asyncio.run(run())


def test_two_placers_keep_to_one_rate(store):
    job, one, other = a_limited_job(store, rpm=1200), Provider(), Provider()

    ends = placed(store, job, calls(40), one, other)

    assert set(ends) == {CallStatus.SETTLED}
    came = sorted(one.came + other.came)
    # 20 a second; a tenth of a second is for this machine.
    assert came[-1] - came[0] >= 39 / 20
    assert most_within(came, 0.9) <= 20
    assert min(len(one.came), len(other.came)) >= 10


def test_two_placers_have_no_more_calls_at_once_than_the_model_may_have(store):
    job, one, other = a_limited_job(store, max_in_flight=3), Provider(), Provider()
    together: list[int] = []
    for provider in (one, other):
        provider.in_flight = together
    together.append(0)

    ends = placed(store, job, calls(24), one, other)

    assert set(ends) == {CallStatus.SETTLED}
    assert max(together) == 3
    assert store.rate_limits.read_state(KEY)[0].clients == {}


def test_tokens_are_reserved_before_and_settled_after(store):
    # A call reserves some 420 tokens and takes 15: if it gave nothing back, it were twelve seconds.
    job, provider = a_limited_job(store, tpm=20_000), Provider(seconds=0.01)

    started = time.monotonic()
    placed(store, job, calls(10), provider)

    assert len(provider.came) == 10
    assert 2.0 < time.monotonic() - started < 8


def test_what_is_found_takes_nothing_of_the_rate(store):
    first = a_limited_job(store, name="first")
    placed(store, first, calls(30), Provider())
    second, provider = a_limited_job(store, name="second", rpm=60), Provider()

    started = time.monotonic()
    ends = placed(store, second, calls(31), provider)

    assert set(ends) == {CallStatus.SETTLED}
    assert len(provider.came) == 1
    assert time.monotonic() - started < 15


def test_limits_that_are_set_while_calls_wait_hold_for_them(store, monkeypatch):
    monkeypatch.setattr("archon_batch.calls.model_limiters._REFRESH_INTERVAL", 0.1)
    job, provider = a_limited_job(store), Provider(seconds=0.2)

    def narrow():
        until(lambda: max(provider.in_flight) == 5)
        store.rate_limits.set_operator_limits(KEY, RateLimits(max_in_flight=1))

    placed(store, job, calls(30), provider, width=5, meanwhile=narrow)

    assert max(provider.in_flight[-8:]) == 1


def test_who_waits_for_a_rate_goes_home_when_the_process_is_to_stop(store):
    job, provider = a_limited_job(store, rpm=1), Provider()

    async def run():
        placer = CallExecutor(store, provider, max_in_flight=8, timeout=30)
        waiting = asyncio.gather(*(placer.execute(job, 0, call) for call in calls(5)))
        async with asyncio.timeout(5):
            await provider.first.wait()
        placer.stopping.set()
        async with asyncio.timeout(5):
            ends = await waiting
            await placer.close()
        return ends

    ends = asyncio.run(run())

    assert sorted(end.name for end in ends) == ["OPEN"] * 4 + ["SETTLED"]


def test_an_attempt_on_record_whose_moment_is_far_away_ends_unsent_when_the_process_stops(
    store, monkeypatch
):
    monkeypatch.setattr(model_limiter, "_SHUTDOWN_GRACE", 0.3)
    job, provider = a_limited_job(store, rpm=1), Provider()

    # Its moment has passed, and the next is a minute away.
    monkeypatch.setattr(model_limiter, "_is_late", lambda permit: permit.sent_at is None)

    async def run():
        placer = CallExecutor(store, provider, max_in_flight=8, timeout=30)
        one = await placer._limiters.limiter_for(Model(model=MODEL), job.id)
        begun, sends = asyncio.Event(), one.wait_to_send

        async def noted(permit, cost):
            begun.set()
            await sends(permit, cost)

        monkeypatch.setattr(one, "wait_to_send", noted)
        placing = asyncio.create_task(placer.execute(job, 0, a_call()))
        async with asyncio.timeout(20):
            await begun.wait()
            placer.stopping.set()
            end = await placing
            await placer.close()
        return end

    assert asyncio.run(run()) is CallStatus.OPEN
    assert provider.came == []
    (call,) = store.item_results.calls(job.id, 0)
    assert [(a.state, a.outcome) for a in call.attempts] == [("not_sent", "unreachable")]


async def a_permit(one: ModelLimiter) -> Permit:
    found = await one.acquire(0)
    assert found is not None
    return found


async def a_line(store: Store, rpm: int) -> ModelLimiter:
    a_limited_job(store, rpm=rpm)
    lines = ModelLimiters(store, DatabaseLimitBackend(store), capacity=64, stopping=asyncio.Event())
    return await lines.limiter_for(Model(model=MODEL), "any")


def test_calls_that_something_kept_beyond_their_moment_do_not_leave_together(store):
    async def run():
        one = await a_line(store, rpm=600)
        permits = [await a_permit(one) for _ in range(4)]
        await asyncio.sleep(MAX_LATENESS + 0.1)
        left: list[float] = []

        async def send(permit):
            await one.wait_to_send(permit, 0)
            left.append(time.monotonic())
            one.release(permit)

        await asyncio.gather(*map(send, permits))
        await one.close()
        return left

    left = asyncio.run(run())

    assert left[-1] - left[0] >= 3 * 0.1 * 0.9


def test_a_permit_in_time_leaves_at_once_and_a_moment_that_was_not_used_is_the_next_ones(store):
    async def run():
        one = await a_line(store, rpm=1)
        first = await a_permit(one)
        waiting = asyncio.create_task(a_permit(one))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        # What it was for had been found.
        one.release(first)
        second = await asyncio.wait_for(waiting, 1)
        await one.wait_to_send(second, 0)
        one.release(second)
        assert second.send_at == first.send_at
        await one.close()

    asyncio.run(run())


def test_a_provider_that_pushes_back_gets_fewer_at_once_and_then_more_again(store):
    job = a_limited_job(store, samples=90)
    refusals = [RateLimitError(MODEL, "too fast") for _ in range(12)]
    provider = Provider(*refusals, seconds=0.05)

    with capture_logs() as logs:
        ends = placed(store, job, calls(90), provider, width=16)

    assert set(ends) == {CallStatus.SETTLED}
    assert provider.in_flight[16] == 16
    (told,) = [entry for entry in logs if entry["event"] == "model_throttled"]
    assert told["limit"] <= 8
    after = provider.in_flight[40:]
    assert max(after[:40]) < 12
    assert max(after) > max(after[:10])


def test_a_provider_with_nothing_left_is_left_alone(store):
    left = RemainingLimits(requests=0, requests_reset=1.5)
    job, provider = a_limited_job(store), Provider(headroom=left, seconds=0.01)

    placed(store, job, calls(2), provider, width=1)

    first, second = provider.came
    assert 1.4 <= second - first < 4


def test_who_keeps_the_limits_may_be_away_for_a_while(store, monkeypatch):
    monkeypatch.setattr(model_limiter, "_GIVE_UP_AFTER", 0.5)

    class Away(DatabaseLimitBackend):
        gone = True

        def request_permits(self, key, limits, request):
            if self.gone:
                raise StoreUnavailableError("database: gone")
            return super().request_permits(key, limits, request)

    async def run(seconds: float):
        meters = Away(store)
        lines = ModelLimiters(store, meters, capacity=8, stopping=asyncio.Event())
        one = await lines.limiter_for(Model(model=MODEL), "any")
        asyncio.get_running_loop().call_later(seconds, setattr, meters, "gone", False)
        permit = await a_permit(one)
        one.release(permit)
        await lines.close()

    a_limited_job(store, rpm=600)
    asyncio.run(run(0.2))
    with pytest.raises(StoreUnavailableError):
        asyncio.run(run(60))


def test_of_those_that_wait_for_a_model_the_deepest_goes_first(store):
    class Noting(Provider):
        def __init__(self):
            super().__init__(seconds=0.01)
            self.layers: list[int] = []

        async def complete(self, call, attempt_id):
            self.layers.append(call.key.layer)
            return await super().complete(call, attempt_id)

    job, one = a_limited_job(store, max_in_flight=1), Noting()
    wanted = [a_call(layer=layer, slot=n, sample=n) for n, layer in enumerate([0, 0, 2, 1, 2])]

    placed(store, job, wanted, one)

    assert sorted(one.layers[1:], reverse=True) == one.layers[1:]


def test_a_model_without_limits_asks_nobody(store):
    class Unasked(DatabaseLimitBackend):
        def request_permits(self, *wish):
            pytest.fail(f"it was asked: {wish}")

    async def run():
        a_limited_job(store)
        lines = ModelLimiters(store, Unasked(store), capacity=8, stopping=asyncio.Event())
        one = await lines.limiter_for(Model(model=MODEL), "any")
        permits = [permit for _ in range(8) if (permit := one.try_acquire())]
        for permit in permits:
            await one.wait_to_send(permit, 0)
            one.release(permit)
        await lines.close()
        return len(permits)

    assert asyncio.run(run()) == 8
