"""The call semaphore: the highest layer goes next, and no slot is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.calls.concurrency import CallSemaphore
from archon_batch.jobs.submit import MAX_SHARD_ROWS, concurrent_shards, default_shard_size


def order(count: int, layers: list[int], *, cancelled: frozenset[int] = frozenset()) -> list[int]:
    """The order in which waiters get a slot, after all semaphore were taken and released."""

    async def run() -> list[int]:
        semaphore, order_of_grants = CallSemaphore(count), []
        for _ in range(count):
            await semaphore.acquire(0)

        async def one(number: int) -> None:
            await semaphore.acquire(layers[number])
            order_of_grants.append(number)
            await asyncio.sleep(0)
            semaphore.release()

        tasks = [asyncio.create_task(one(number)) for number in range(len(layers))]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        for _ in range(count):
            semaphore.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        # All semaphore are free again.
        async with asyncio.timeout(1):
            for _ in range(count):
                await semaphore.acquire(0)
        return order_of_grants

    return asyncio.run(run())


def test_the_highest_layer_goes_first_and_then_first_come_first_served():
    assert order(1, [0, 2, 1, 2, 0]) == [1, 3, 2, 0, 4]


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=12),
    st.data(),
)
def test_every_waiter_that_is_not_cancelled_gets_one_slot(count, layers, data):
    some = st.sampled_from(range(len(layers))) if layers else st.nothing()
    cancelled = data.draw(st.frozensets(some, max_size=len(layers)))

    order_of_grants = order(count, layers, cancelled=cancelled)

    assert sorted(order_of_grants) == [n for n in range(len(layers)) if n not in cancelled]


def test_a_slot_granted_to_a_cancelled_waiter_goes_to_the_next():
    async def run() -> None:
        semaphore = CallSemaphore(1)
        await semaphore.acquire(0)
        first = asyncio.create_task(semaphore.acquire(0))
        second = asyncio.create_task(semaphore.acquire(0))
        await asyncio.sleep(0)
        semaphore.release()
        first.cancel()
        async with asyncio.timeout(1):
            await second

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rows", "shard_size", "shards"),
    [(1, 1, 32), (127, 1, 32), (400, 6, 32), (1_024, 16, 32), (4_096, 64, 8), (10**6, 64, 8)],
)
def test_a_small_job_has_small_shards_and_enough_of_them(rows, shard_size, shards):
    assert (default_shard_size(rows), concurrent_shards(shard_size)) == (shard_size, shards)
    assert -(-rows // shard_size) >= min(rows, 64)


def test_larger_shards_do_not_raise_the_number_of_rows_in_progress():
    assert [concurrent_shards(shard) for shard in (MAX_SHARD_ROWS, 100, 1_000)] == [8, 5, 1]
