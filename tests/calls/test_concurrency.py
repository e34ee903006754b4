"""Slots: the deepest of those that wait goes next, and none is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.calls.concurrency import CallSemaphore
from archon_batch.jobs.submit import MAX_SHARD_ROWS, concurrent_shards, default_shard_size


def order(count: int, depths: list[int], *, cancelled: frozenset[int] = frozenset()) -> list[int]:
    """Who gets a slot, one after another, while the first holds all of them and then one."""

    async def run() -> list[int]:
        slots, went = CallSemaphore(count), []
        for _ in range(count):
            await slots.acquire(0)

        async def one(number: int) -> None:
            await slots.acquire(depths[number])
            went.append(number)
            await asyncio.sleep(0)
            slots.release()

        tasks = [asyncio.create_task(one(number)) for number in range(len(depths))]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        for _ in range(count):
            slots.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        # All of them are free again.
        async with asyncio.timeout(1):
            for _ in range(count):
                await slots.acquire(0)
        return went

    return asyncio.run(run())


def test_of_those_that_wait_the_deepest_goes_first_and_then_who_came_first():
    assert order(1, [0, 2, 1, 2, 0]) == [1, 3, 2, 0, 4]


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=12),
    st.data(),
)
def test_everyone_who_is_not_cancelled_gets_a_slot_once(count, depths, data):
    some = st.sampled_from(range(len(depths))) if depths else st.nothing()
    cancelled = data.draw(st.frozensets(some, max_size=len(depths)))

    went = order(count, depths, cancelled=cancelled)

    assert sorted(went) == [n for n in range(len(depths)) if n not in cancelled]


def test_a_slot_that_was_given_to_one_who_is_cancelled_goes_to_the_next():
    async def run() -> None:
        slots = CallSemaphore(1)
        await slots.acquire(0)
        first = asyncio.create_task(slots.acquire(0))
        second = asyncio.create_task(slots.acquire(0))
        await asyncio.sleep(0)
        slots.release()
        first.cancel()
        async with asyncio.timeout(1):
            await second

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rows", "shard", "width"),
    [(1, 1, 32), (127, 1, 32), (400, 6, 32), (1_024, 16, 32), (4_096, 64, 8), (10**6, 64, 8)],
)
def test_a_small_job_has_small_shards_and_enough_of_them(rows, shard, width):
    assert (default_shard_size(rows), concurrent_shards(shard)) == (shard, width)
    assert -(-rows // shard) >= min(rows, 64)


def test_shards_that_were_asked_for_have_no_more_rows_under_way_than_others():
    assert [concurrent_shards(shard) for shard in (MAX_SHARD_ROWS, 100, 1_000)] == [8, 5, 1]
