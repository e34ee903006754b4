"""Self-test: runs every attack program in the sandbox of this machine."""

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import NamedTuple

from archon_batch.sandbox.attack_programs import ATTACK_PROGRAMS
from archon_batch.sandbox.bubblewrap import detect_bubblewrap
from archon_batch.sandbox.forged_verdicts import FORGED_VERDICTS, TEST_TRICKS
from archon_batch.sandbox.runner import Sandbox, SandboxTest, SandboxTestResult

#: Seconds for one attack, and for the last process of a sandbox to exit.
_SECONDS, _EXIT_SECONDS = 15.0, 10.0
#: Seconds for the program that never ends.
_ENDLESS_SECONDS = 2.0


class AttackResult(NamedTuple):
    name: str
    contained: bool
    #: How the attack ended, for people.
    why: str


_CORRECT_TEST = "assert add(2, 3) == 5\nassert abs(add(2, 3) - 5) < 1e-6"


def run_attacks() -> Iterator[AttackResult]:
    """Run every attack program.

    Raises:
        SettingsError: there is no sandbox on this machine.
    """
    sandbox = Sandbox(_SECONDS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Keep the threads until the end: a sandbox process dies with the thread that started it.
        yield from pool.map(lambda attack: attack(), _all_attacks(sandbox))


def _all_attacks(sandbox: Sandbox) -> Iterator[Callable[[], AttackResult]]:
    for name, program in ATTACK_PROGRAMS.items():
        test = "assert use(lambda: 1) == 'through'" if "def use" in program else _BREACH_TEST
        yield partial(_run_program, name, sandbox, program, test)
    for name, program in FORGED_VERDICTS.items():
        yield partial(_run_program, name, sandbox, program, _CORRECT_TEST)
    for name, (program, test) in TEST_TRICKS.items():
        yield partial(_run_program, name, sandbox, program, test)
    yield partial(
        _run_program, "never ends", Sandbox(_ENDLESS_SECONDS), _ENDLESS_PROGRAM, _BREACH_TEST
    )
    yield partial(_run_flood, sandbox)
    yield _run_daemon


_ENDLESS_PROGRAM = """\
def attack():
    while True:
        pass
"""
_BREACH_TEST = "assert attack() == 'through'"


def _run_program(name: str, sandbox: Sandbox, program: str, test: str) -> AttackResult:
    with closing(sandbox.run_tests([program], [SandboxTest(test)])) as outcomes:
        outcome: SandboxTestResult = next(outcomes)
    # A "broken" test would prove nothing, so only "failed" counts.
    return AttackResult(name, outcome.verdict == "failed", outcome.why or "it got through")


def _run_flood(sandbox: Sandbox) -> AttackResult:
    flood = sandbox.check_output(["while True:\n    print('x' * 65536)"], "", "x")
    return AttackResult("prints without end", flood.verdict == "failed", flood.why)


_DAEMON_PROGRAM = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
os.write(1, b"there")
"""


def _run_daemon() -> AttackResult:
    """Check that a process in its own session dies with its sandbox."""
    read, write = os.pipe()
    started = os.dup(write)
    try:
        program = {"programs": [_DAEMON_PROGRAM], "started": started}
        guest = detect_bubblewrap().start(
            "script", program, pipes=(write, started), stdout=subprocess.PIPE
        )
        with guest as process:
            os.close(write)
            os.close(started)
            has_run = process.stdout is not None and process.stdout.read(5) == b"there"
            has_run = has_run and os.read(read, 1) == b"\n"
        # The pipe ends when its last process has exited.
        poll = select.poll()
        poll.register(read, select.POLLIN | select.POLLHUP)
        has_exited = bool(poll.poll(_EXIT_SECONDS * 1000)) and os.read(read, 1) == b""
    finally:
        os.close(read)
    contained, why = has_exited and has_run, "it has exited" if has_exited else "it survived"
    return AttackResult("leaves a process behind", contained, why if has_run else "it never ran")
