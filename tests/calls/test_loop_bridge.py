"""The loop bridge: results of other threads reach the loop's futures."""

import asyncio
import threading

import pytest

from archon_batch.calls.loop_bridge import LoopBridge


def test_each_future_gets_its_result_or_its_error():
    async def run():
        bridge = LoopBridge()
        futures = [bridge.create_future() for _ in range(50)]

        def complete():
            for n, future in enumerate(futures):
                assert future.set_running_or_notify_cancel()
                if n:
                    future.set_result(n)
                else:
                    future.set_exception(KeyError("none"))

        threading.Thread(target=complete).start()
        return await asyncio.gather(*(future.future for future in futures), return_exceptions=True)

    first, *others = asyncio.run(run())

    assert isinstance(first, KeyError)
    assert others == list(range(1, 50))


def test_a_cancelled_future_is_left_alone():
    async def run():
        bridge = LoopBridge()
        cancelled, waiting = bridge.create_future(), bridge.create_future()
        cancelled.future.cancel()
        assert not cancelled.set_running_or_notify_cancel()
        cancelled.set_result(1)
        waiting.set_result(2)
        return await waiting.future

    assert asyncio.run(run()) == 2


@pytest.mark.filterwarnings("error")
def test_a_result_after_the_loop_has_closed_is_dropped():
    async def run():
        return LoopBridge().create_future()

    future = asyncio.run(run())

    future.set_result(1)
