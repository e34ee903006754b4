"""The tray: answers of other threads reach the loop's futures."""

import asyncio
import threading

import pytest

from archon_batch.calls.loop_bridge import LoopBridge


def test_each_future_gets_its_answer_or_its_error():
    async def work():
        tray = LoopBridge()
        slips = [tray.create_future() for _ in range(50)]

        def answer():
            for n, slip in enumerate(slips):
                assert slip.set_running_or_notify_cancel()
                if n:
                    slip.set_result(n)
                else:
                    slip.set_exception(KeyError("none"))

        threading.Thread(target=answer).start()
        return await asyncio.gather(*(slip.future for slip in slips), return_exceptions=True)

    first, *others = asyncio.run(work())

    assert isinstance(first, KeyError)
    assert others == list(range(1, 50))


def test_who_no_longer_waits_is_left_alone():
    async def work():
        tray = LoopBridge()
        gone, waits = tray.create_future(), tray.create_future()
        gone.future.cancel()
        assert not gone.set_running_or_notify_cancel()
        gone.set_result(1)
        waits.set_result(2)
        return await waits.future

    assert asyncio.run(work()) == 2


@pytest.mark.filterwarnings("error")
def test_an_answer_after_the_loop_has_closed_is_nobody_s():
    async def work():
        return LoopBridge().create_future()

    slip = asyncio.run(work())

    slip.set_result(1)
