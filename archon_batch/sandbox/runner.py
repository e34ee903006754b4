"""A program on trial: run in a box of its own, and judged outside of it."""

import json
import os
import select
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Literal, TypeAlias

from archon_batch.sandbox.bubblewrap import opened

#: Seconds of the clock for one test, for all tests of one program, and for a box to start, which on a
#: busy machine is no fault of the program.
SECONDS, ALL_SECONDS, _START = 3.0, 120.0, 30.0
#: Bytes of a report that are read, and of a script's output beyond what is right.
_REPORT, _SPARE = 4096, 65_536
LATE = "its time is up"
#: What a report says before its first test: its boxes have begun, the program is loaded.
_WORDS = ("begun", "loaded")

#: ``broken`` is the fault of the test, which is no Python.
Verdict: TypeAlias = Literal["passed", "failed", "broken"]


@dataclass(frozen=True, slots=True)
class Check:
    code: str
    #: Code that goes before, in the test's own box.
    setup: str = ""
    #: Names in the test, each with the program's name that it means; None is every name that neither
    #: the test nor Python has.
    names: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    why: str = ""


class Sandbox:
    """Runs what models wrote.

    Raises:
        SettingsError: no sandbox can be had on this machine; it says what would help.
    """

    def __init__(self, seconds: float = SECONDS, all_seconds: float = ALL_SECONDS) -> None:
        self._box = opened()
        self._seconds, self._all = seconds, all_seconds

    def tested(
        self, programs: Sequence[str], tests: Sequence[Check]
    ) -> Generator[Outcome, None, None]:
        """How each test ends, one after the other; whoever has seen enough may stop.

        A program that is late once fails the tests that are left, too: it would be late again.

        Args:
            programs: texts of which the first that is Python is the program.
            tests: each is run in a namespace of its own.
        """
        done, until = 0, time.monotonic() + self._all
        is_late = False
        while done < len(tests):
            if is_late or time.monotonic() >= until:
                yield from [Outcome("failed", LATE)] * (len(tests) - done)
                return
            with self._pair(programs, tests, done) as report:
                for outcome in self._outcomes(report, len(tests) - done, until):
                    done += 1
                    yield outcome
                is_late = report.why == LATE

    def printed(self, programs: Sequence[str], given: str, right: str) -> Outcome:
        """Whether the program, run as a script, prints what is right for what it is given."""
        most = len(right) * 4 + _SPARE
        stdin = given.encode("utf-8", "replace")
        read, write = os.pipe()
        with ExitStack() as stack:
            stack.callback(os.close, read)
            try:
                told = {"programs": list(programs), "begun": write}
                box = self._box.running(
                    "script", told, pipes=(write,), given=stdin, stdout=subprocess.PIPE
                )
                process = stack.enter_context(box)
            finally:
                os.close(write)
            Reading(read, 1).more(time.monotonic() + _START)
            said, until = Reading(_number(process.stdout), most), time.monotonic() + self._seconds
            while said.more(until):
                pass
        if not said.ended:
            return Outcome("failed", said.why)
        # Words, as most contests compare; the exit status says nothing.
        is_right = said.text.decode("utf-8", "replace").split() == right.split()
        return Outcome("passed") if is_right else Outcome("failed", "it prints something else")

    @contextmanager
    def _pair(
        self, programs: Sequence[str], tests: Sequence[Check], first: int
    ) -> Iterator["Reading"]:
        """A fresh box with the program and one with the tests from there on."""
        with ExitStack() as stack:
            (ask_read, ask_write), (tell_read, tell_write) = os.pipe(), os.pipe()
            ends = [ask_read, ask_write, tell_read, tell_write]
            try:
                held = {"programs": list(programs), "read": ask_read, "write": tell_write}
                pipes = (ask_read, tell_write)
                stack.enter_context(self._box.running("hold", held, pipes=pipes))
                told = {"tests": [asdict(test) for test in tests], "first": first}
                told |= {"read": tell_read, "write": ask_write}
                box = self._box.running(
                    "test", told, pipes=(tell_read, ask_write), stdout=subprocess.PIPE
                )
                process = stack.enter_context(box)
            finally:
                # Only the boxes have them now, so that each sees when the other is gone.
                for end in ends:
                    os.close(end)
            yield Reading(_number(process.stdout), _REPORT * (len(tests) + 2))

    def _outcomes(self, report: "Reading", most: int, until: float) -> Iterator[Outcome]:
        """What the report tells, at least of one test: the first that does not end is the last."""
        told = -len(_WORDS)
        while told < most:
            seconds = self._seconds if told > -len(_WORDS) else _START
            line = report.line(min(time.monotonic() + seconds, until))
            if line is None and report.ended and told > 0:
                # The program has ended itself, and the next test wants a fresh one.
                return
            if line is None:
                yield Outcome("failed", report.why or "its tests have ended without a word")
                return
            if told >= 0:
                yield _outcome(line)
            told += 1


def _outcome(line: bytes) -> Outcome:
    """What a line of the report says; tests are a model's words too, and may write there."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    match told:
        case ["passed" | "failed" | "broken" as verdict, str(why)]:
            return Outcome(verdict, why)
    return Outcome("failed", "its report cannot be read")


class Reading:
    """What a box says, until it ends, its time is up, or it has said too much."""

    def __init__(self, file: int, most: int) -> None:
        self._file = file
        self._most = most
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        self.text = b""
        self.ended = False
        self.why = ""

    def more(self, until: float) -> bool:
        """Whether there was more to read."""
        left = until - time.monotonic()
        if left <= 0 or not self._poll.poll(left * 1000):
            self.why = LATE
            return False
        got = os.read(self._file, 65_536)
        self.ended = not got
        self.text += got
        if len(self.text) > self._most:
            self.why = "it prints too much"
            return False
        return bool(got)

    def line(self, until: float) -> bytes | None:
        """The next line; None when there is none."""
        while b"\n" not in self.text:
            if not self.more(until):
                return None
        line, _, self.text = self.text.partition(b"\n")
        return line


def _number(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe.fileno()
