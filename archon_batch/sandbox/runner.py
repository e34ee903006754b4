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

from archon_batch.sandbox.bubblewrap import detect_bubblewrap

#: Seconds of the clock for one test, for all tests of one program, and for a box to start, which on a
#: busy machine is no fault of the program.
TEST_SECONDS, TOTAL_SECONDS, _START_SECONDS = 3.0, 120.0, 30.0
#: Bytes of a report that are read, and of a script's output beyond what is right.
_MAX_REPORT, _EXTRA_OUTPUT = 4096, 65_536
TIMED_OUT = "its time is up"
#: What a report says before its first test: its boxes have begun, the program is loaded.
_START_LINES = ("begun", "loaded")

#: ``broken`` is the fault of the test, which is no Python.
SandboxVerdict: TypeAlias = Literal["passed", "failed", "broken"]


@dataclass(frozen=True, slots=True)
class SandboxTest:
    code: str
    #: Code that goes before, in the test's own box.
    setup: str = ""
    #: Names in the test, each with the program's name that it means; None is every name that neither
    #: the test nor Python has.
    names: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class SandboxTestResult:
    verdict: SandboxVerdict
    why: str = ""


class Sandbox:
    """Runs what models wrote.

    Raises:
        SettingsError: no sandbox can be had on this machine; it says what would help.
    """

    def __init__(self, seconds: float = TEST_SECONDS, total_seconds: float = TOTAL_SECONDS) -> None:
        self._bubblewrap = detect_bubblewrap()
        self._seconds, self._total_seconds = seconds, total_seconds

    def run_tests(
        self, programs: Sequence[str], tests: Sequence[SandboxTest]
    ) -> Generator[SandboxTestResult, None, None]:
        """How each test ends, one after the other; whoever has seen enough may stop.

        A program that is late once fails the tests that are left, too: it would be late again.

        Args:
            programs: texts of which the first that is Python is the program.
            tests: each is run in a namespace of its own.
        """
        done, until = 0, time.monotonic() + self._total_seconds
        is_late = False
        while done < len(tests):
            if is_late or time.monotonic() >= until:
                yield from [SandboxTestResult("failed", TIMED_OUT)] * (len(tests) - done)
                return
            with self._start_pair(programs, tests, done) as report:
                for outcome in self._read_results(report, len(tests) - done, until):
                    done += 1
                    yield outcome
                is_late = report.why == TIMED_OUT

    def check_output(
        self, programs: Sequence[str], stdin_text: str, expected: str
    ) -> SandboxTestResult:
        """Whether the program, run as a script, prints what is right for what it is given."""
        most = len(expected) * 4 + _EXTRA_OUTPUT
        stdin = stdin_text.encode("utf-8", "replace")
        read, write = os.pipe()
        with ExitStack() as stack:
            stack.callback(os.close, read)
            try:
                told = {"programs": list(programs), "begun": write}
                box = self._bubblewrap.start(
                    "script", told, pipes=(write,), stdin_data=stdin, stdout=subprocess.PIPE
                )
                process = stack.enter_context(box)
            finally:
                os.close(write)
            OutputReader(read, 1).read_more(time.monotonic() + _START_SECONDS)
            said, until = (
                OutputReader(_fileno(process.stdout), most),
                time.monotonic() + self._seconds,
            )
            while said.read_more(until):
                pass
        if not said.is_ended:
            return SandboxTestResult("failed", said.why)
        # Words, as most contests compare; the exit status says nothing.
        is_right = said.text.decode("utf-8", "replace").split() == expected.split()
        return (
            SandboxTestResult("passed")
            if is_right
            else SandboxTestResult("failed", "it prints something else")
        )

    @contextmanager
    def _start_pair(
        self, programs: Sequence[str], tests: Sequence[SandboxTest], first: int
    ) -> Iterator["OutputReader"]:
        """A fresh box with the program and one with the tests from there on."""
        with ExitStack() as stack:
            (ask_read, ask_write), (tell_read, tell_write) = os.pipe(), os.pipe()
            ends = [ask_read, ask_write, tell_read, tell_write]
            try:
                held = {"programs": list(programs), "read": ask_read, "write": tell_write}
                pipes = (ask_read, tell_write)
                stack.enter_context(self._bubblewrap.start("hold", held, pipes=pipes))
                told = {"tests": [asdict(test) for test in tests], "first": first}
                told |= {"read": tell_read, "write": ask_write}
                box = self._bubblewrap.start(
                    "test", told, pipes=(tell_read, ask_write), stdout=subprocess.PIPE
                )
                process = stack.enter_context(box)
            finally:
                # Only the boxes have them now, so that each sees when the other is gone.
                for end in ends:
                    os.close(end)
            yield OutputReader(_fileno(process.stdout), _MAX_REPORT * (len(tests) + 2))

    def _read_results(
        self, report: "OutputReader", count: int, deadline: float
    ) -> Iterator[SandboxTestResult]:
        """What the report tells, at least of one test: the first that does not end is the last."""
        told = -len(_START_LINES)
        while told < count:
            seconds = self._seconds if told > -len(_START_LINES) else _START_SECONDS
            line = report.read_line(min(time.monotonic() + seconds, deadline))
            if line is None and report.is_ended and told > 0:
                # The program has ended itself, and the next test wants a fresh one.
                return
            if line is None:
                yield SandboxTestResult(
                    "failed", report.why or "its tests have ended without a word"
                )
                return
            if told >= 0:
                yield _parse_result(line)
            told += 1


def _parse_result(line: bytes) -> SandboxTestResult:
    """What a line of the report says; tests are a model's words too, and may write there."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    match told:
        case ["passed" | "failed" | "broken" as verdict, str(why)]:
            return SandboxTestResult(verdict, why)
    return SandboxTestResult("failed", "its report cannot be read")


class OutputReader:
    """What a box says, until it ends, its time is up, or it has said too much."""

    def __init__(self, file: int, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        self.text = b""
        self.is_ended = False
        self.why = ""

    def read_more(self, deadline: float) -> bool:
        """Whether there was more to read."""
        left = deadline - time.monotonic()
        if left <= 0 or not self._poll.poll(left * 1000):
            self.why = TIMED_OUT
            return False
        got = os.read(self._file, 65_536)
        self.is_ended = not got
        self.text += got
        if len(self.text) > self._max_bytes:
            self.why = "it prints too much"
            return False
        return bool(got)

    def read_line(self, deadline: float) -> bytes | None:
        """The next line; None when there is none."""
        while b"\n" not in self.text:
            if not self.read_more(deadline):
                return None
        line, _, self.text = self.text.partition(b"\n")
        return line


def _fileno(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe.fileno()
