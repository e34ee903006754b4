"""The model limiter: calls are sent at their time, whatever delays or cancels them."""

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
    """Answers every call after a while, and records when each arrived."""

    def __init__(
        self, *ends: Exception, seconds: float = 0.05, remaining: RemainingLimits | None = None
    ):
        self.ends = list(ends)
        self.seconds = seconds
        self.remaining = remaining
        self.arrived: list[float] = []
        self.first = asyncio.Event()
        self.in_flight: list[int] = [0]

    async def complete(self, call, attempt_id):
        del call, attempt_id
        self.arrived.append(time.monotonic())
        self.first.set()
        self.in_flight.append(self.in_flight[-1] + 1)
        await asyncio.sleep(self.seconds)
        self.in_flight.append(self.in_flight[-1] - 1)
        if self.ends:
            raise self.ends.pop(0)
        return replace(FOUR, remaining_limits=self.remaining)

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


def executed(
    store: Store, job, wanted, *providers: Provider, max_in_flight: int = 64, meanwhile=None
):
    """The status of each call, spread over one executor for each provider."""

    async def run():
        executors = [
            CallExecutor(store, p, max_in_flight=max_in_flight, timeout=30) for p in providers
        ]
        work = [
            executors[n % len(executors)].execute(job, 0, call) for n, call in enumerate(wanted)
        ]
        other = [asyncio.to_thread(meanwhile)] if meanwhile else []
        ends = (await asyncio.gather(*work, *other))[: len(work)]
        for executor in executors:
            await executor.close()
        return ends

    return asyncio.run(run())


def test_two_executors_keep_to_one_rate(store):
    job, one, other = a_limited_job(store, rpm=1200), Provider(), Provider()

    ends = executed(store, job, calls(40), one, other)

    assert set(ends) == {CallStatus.SETTLED}
    arrived = sorted(one.arrived + other.arrived)
    # 20 a second; 0.1 s is tolerance for this machine.
    assert arrived[-1] - arrived[0] >= 39 / 20
    assert most_within(arrived, 0.9) <= 20
    assert min(len(one.arrived), len(other.arrived)) >= 10


def test_two_executors_keep_to_the_model_s_calls_in_flight(store):
    job, one, other = a_limited_job(store, max_in_flight=3), Provider(), Provider()
    together: list[int] = []
    for provider in (one, other):
        provider.in_flight = together
    together.append(0)

    ends = executed(store, job, calls(24), one, other)

    assert set(ends) == {CallStatus.SETTLED}
    assert max(together) == 3
    assert store.rate_limits.read_state(KEY)[0].clients == {}


def test_reserved_tokens_that_were_not_used_are_refunded(store):
    # A call reserves some 420 tokens and uses 15: without refunds it would take twelve seconds.
    job, provider = a_limited_job(store, tpm=20_000), Provider(seconds=0.01)

    started = time.monotonic()
    executed(store, job, calls(10), provider)

    assert len(provider.arrived) == 10
    assert 2.0 < time.monotonic() - started < 8


def test_cache_hits_use_nothing_of_the_rate(store):
    first = a_limited_job(store, name="first")
    executed(store, first, calls(30), Provider())
    second, provider = a_limited_job(store, name="second", rpm=60), Provider()

    started = time.monotonic()
    ends = executed(store, second, calls(31), provider)

    assert set(ends) == {CallStatus.SETTLED}
    assert len(provider.arrived) == 1
    assert time.monotonic() - started < 15


def test_limits_set_while_calls_wait_hold_for_them(store, monkeypatch):
    monkeypatch.setattr("archon_batch.calls.model_limiters._REFRESH_INTERVAL", 0.1)
    job, provider = a_limited_job(store), Provider(seconds=0.2)

    def narrow():
        until(lambda: max(provider.in_flight) == 5)
        store.rate_limits.set_operator_limits(KEY, RateLimits(max_in_flight=1))

    executed(store, job, calls(30), provider, max_in_flight=5, meanwhile=narrow)

    assert max(provider.in_flight[-8:]) == 1


def test_calls_that_wait_for_the_rate_stay_open_when_the_process_stops(store):
    job, provider = a_limited_job(store, rpm=1), Provider()

    async def run():
        executor = CallExecutor(store, provider, max_in_flight=8, timeout=30)
        waiting = asyncio.gather(*(executor.execute(job, 0, call) for call in calls(5)))
        async with asyncio.timeout(5):
            await provider.first.wait()
        executor.stopping.set()
        async with asyncio.timeout(5):
            ends = await waiting
            await executor.close()
        return ends

    ends = asyncio.run(run())

    assert sorted(end.name for end in ends) == ["OPEN"] * 4 + ["SETTLED"]


def test_a_stored_attempt_with_a_distant_send_time_ends_unsent_when_the_process_stops(
    store, monkeypatch
):
    monkeypatch.setattr(model_limiter, "_SHUTDOWN_GRACE", 0.3)
    job, provider = a_limited_job(store, rpm=1), Provider()

    # Its send time has passed, and the next is a minute away.
    monkeypatch.setattr(model_limiter, "_is_late", lambda permit: permit.sent_at is None)

    async def run():
        executor = CallExecutor(store, provider, max_in_flight=8, timeout=30)
        limiter = await executor._limiters.limiter_for(Model(model=MODEL), job.id)
        recorded, wait_to_send = asyncio.Event(), limiter.wait_to_send

        async def observed(permit, cost):
            recorded.set()
            await wait_to_send(permit, cost)

        monkeypatch.setattr(limiter, "wait_to_send", observed)
        executing = asyncio.create_task(executor.execute(job, 0, a_call()))
        async with asyncio.timeout(20):
            await recorded.wait()
            executor.stopping.set()
            end = await executing
            await executor.close()
        return end

    assert asyncio.run(run()) is CallStatus.OPEN
    assert provider.arrived == []
    (call,) = store.item_results.calls(job.id, 0)
    assert [(a.state, a.outcome) for a in call.attempts] == [("not_sent", "unreachable")]


async def a_permit(limiter: ModelLimiter) -> Permit:
    found = await limiter.acquire(0)
    assert found is not None
    return found


async def a_limiter(store: Store, rpm: int) -> ModelLimiter:
    a_limited_job(store, rpm=rpm)
    limiters = ModelLimiters(
        store, DatabaseLimitBackend(store), capacity=64, stopping=asyncio.Event()
    )
    return await limiters.limiter_for(Model(model=MODEL), "any")


def test_calls_delayed_beyond_their_send_time_are_not_sent_together(store):
    async def run():
        limiter = await a_limiter(store, rpm=600)
        permits = [await a_permit(limiter) for _ in range(4)]
        await asyncio.sleep(MAX_LATENESS + 0.1)
        left: list[float] = []

        async def send(permit):
            await limiter.wait_to_send(permit, 0)
            left.append(time.monotonic())
            limiter.release(permit)

        await asyncio.gather(*map(send, permits))
        await limiter.close()
        return left

    left = asyncio.run(run())

    assert left[-1] - left[0] >= 3 * 0.1 * 0.9


def test_a_timely_permit_is_sent_at_once_and_an_unused_send_time_goes_to_the_next_call(store):
    async def run():
        limiter = await a_limiter(store, rpm=1)
        first = await a_permit(limiter)
        waiting = asyncio.create_task(a_permit(limiter))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        # As for a call that turned out to be a cache hit.
        limiter.release(first)
        second = await asyncio.wait_for(waiting, 1)
        await limiter.wait_to_send(second, 0)
        limiter.release(second)
        assert second.send_at == first.send_at
        await limiter.close()

    asyncio.run(run())


def test_a_throttling_provider_gets_fewer_calls_in_flight_and_then_more_again(store):
    job = a_limited_job(store, samples=90)
    refusals = [RateLimitError(MODEL, "too fast") for _ in range(12)]
    provider = Provider(*refusals, seconds=0.05)

    with capture_logs() as logs:
        ends = executed(store, job, calls(90), provider, max_in_flight=16)

    assert set(ends) == {CallStatus.SETTLED}
    assert provider.in_flight[16] == 16
    (logged,) = [entry for entry in logs if entry["event"] == "model_throttled"]
    assert logged["limit"] <= 8
    after = provider.in_flight[40:]
    assert max(after[:40]) < 12
    assert max(after) > max(after[:10])


def test_a_provider_without_remaining_quota_gets_no_calls_until_its_reset(store):
    left = RemainingLimits(requests=0, requests_reset=1.5)
    job, provider = a_limited_job(store), Provider(remaining=left, seconds=0.01)

    executed(store, job, calls(2), provider, max_in_flight=1)

    first, second = provider.arrived
    assert 1.4 <= second - first < 4


def test_the_limit_backend_may_be_unavailable_for_a_while(store, monkeypatch):
    monkeypatch.setattr(model_limiter, "_GIVE_UP_AFTER", 0.5)

    class Unavailable(DatabaseLimitBackend):
        gone = True

        def request_permits(self, key, limits, request):
            if self.gone:
                raise StoreUnavailableError("database: gone")
            return super().request_permits(key, limits, request)

    async def run(seconds: float):
        backend = Unavailable(store)
        limiters = ModelLimiters(store, backend, capacity=8, stopping=asyncio.Event())
        limiter = await limiters.limiter_for(Model(model=MODEL), "any")
        asyncio.get_running_loop().call_later(seconds, setattr, backend, "gone", False)
        permit = await a_permit(limiter)
        limiter.release(permit)
        await limiters.close()

    a_limited_job(store, rpm=600)
    asyncio.run(run(0.2))
    with pytest.raises(StoreUnavailableError):
        asyncio.run(run(60))


def test_calls_of_the_highest_layer_get_their_permits_first(store):
    class Noting(Provider):
        def __init__(self):
            super().__init__(seconds=0.01)
            self.layers: list[int] = []

        async def complete(self, call, attempt_id):
            self.layers.append(call.key.layer)
            return await super().complete(call, attempt_id)

    job, one = a_limited_job(store, max_in_flight=1), Noting()
    wanted = [a_call(layer=layer, slot=n, sample=n) for n, layer in enumerate([0, 0, 2, 1, 2])]

    executed(store, job, wanted, one)

    assert sorted(one.layers[1:], reverse=True) == one.layers[1:]


def test_a_model_without_limits_sends_no_request_to_the_backend(store):
    class Unused(DatabaseLimitBackend):
        def request_permits(self, *request):
            pytest.fail(f"the backend got a request: {request}")

    async def run():
        a_limited_job(store)
        limiters = ModelLimiters(store, Unused(store), capacity=8, stopping=asyncio.Event())
        limiter = await limiters.limiter_for(Model(model=MODEL), "any")
        permits = [permit for _ in range(8) if (permit := limiter.try_acquire())]
        for permit in permits:
            await limiter.wait_to_send(permit, 0)
            limiter.release(permit)
        await limiters.close()
        return len(permits)

    assert asyncio.run(run()) == 8
