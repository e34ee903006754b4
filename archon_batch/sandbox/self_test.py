"""The sandbox attacked by every hostile program that there is."""

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import NamedTuple

from archon_batch.sandbox.attack_programs import REACHES
from archon_batch.sandbox.bubblewrap import opened
from archon_batch.sandbox.forged_verdicts import FORGERIES, TRICKS
from archon_batch.sandbox.runner import Check, Outcome, Sandbox

#: Seconds that one attack has, and that the last process of a box has to die.
_SECONDS, _DYING = 15.0, 10.0
#: Seconds for a program that never ends by itself.
_ENDLESS = 2.0


class Attacked(NamedTuple):
    name: str
    held: bool
    #: How it ended, in words.
    why: str


_RIGHT = "assert add(2, 3) == 5\nassert abs(add(2, 3) - 5) < 1e-6"


def attacked() -> Iterator[Attacked]:
    """Attack the sandbox of this machine, with every program that there is.

    Raises:
        SettingsError: there is none.
    """
    sandbox = Sandbox(_SECONDS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Kept until the end, since a box dies with the thread that has started it.
        yield from pool.map(lambda attack: attack(), _attacks(sandbox))


def _attacks(sandbox: Sandbox) -> Iterator[Callable[[], Attacked]]:
    for name, program in REACHES.items():
        test = "assert use(lambda: 1) == 'through'" if "def use" in program else _THROUGH
        yield partial(_judged, name, sandbox, program, test)
    for name, program in FORGERIES.items():
        yield partial(_judged, name, sandbox, program, _RIGHT)
    for name, (program, test) in TRICKS.items():
        yield partial(_judged, name, sandbox, program, test)
    yield partial(_judged, "never ends", Sandbox(_ENDLESS), _LOOP, _THROUGH)
    yield partial(_flooded, sandbox)
    yield _outlived


_LOOP = """\
def attack():
    while True:
        pass
"""
_THROUGH = "assert attack() == 'through'"


def _judged(name: str, sandbox: Sandbox, program: str, test: str) -> Attacked:
    with closing(sandbox.tested([program], [Check(test)])) as outcomes:
        outcome: Outcome = next(outcomes)
    # Of a test that is wrong nothing could be said.
    return Attacked(name, outcome.verdict == "failed", outcome.why or "it got through")


def _flooded(sandbox: Sandbox) -> Attacked:
    flood = sandbox.printed(["while True:\n    print('x' * 65536)"], "", "x")
    return Attacked("prints without end", flood.verdict == "failed", flood.why)


_DAEMON = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
os.write(1, b"there")
"""


def _outlived() -> Attacked:
    """Whether a process in a session of its own is there when its box is gone."""
    read, write = os.pipe()
    begun = os.dup(write)
    try:
        program = {"programs": [_DAEMON], "begun": begun}
        box = opened().running("script", program, pipes=(write, begun), stdout=subprocess.PIPE)
        with box as process:
            os.close(write)
            os.close(begun)
            there = process.stdout is not None and process.stdout.read(5) == b"there"
            there = there and os.read(read, 1) == b"\n"
        # The pipe ends when nobody is left who holds it.
        poll = select.poll()
        poll.register(read, select.POLLIN | select.POLLHUP)
        gone = bool(poll.poll(_DYING * 1000)) and os.read(read, 1) == b""
    finally:
        os.close(read)
    why = "it is gone" if gone else "it lives on"
    return Attacked("leaves a process behind", gone and there, why if there else "it never began")
