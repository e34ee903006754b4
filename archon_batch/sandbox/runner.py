"""Runs a program and its tests in separate sandbox processes, and reads the results outside."""

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

#: Wall-clock seconds for one test, for all tests of a program, and for a sandbox process to start,
#: which a busy machine may delay.
TEST_SECONDS, TOTAL_SECONDS, _START_SECONDS = 3.0, 120.0, 30.0
#: Bytes of one result, and of a script's output beyond the expected length.
_MAX_REPORT, _EXTRA_OUTPUT = 4096, 65_536
TIMED_OUT = "timed out"
#: Lines of a report before its first result: both processes have started; the program is loaded.
_START_LINES = 2

#: ``broken``: the test is no valid Python.
SandboxVerdict: TypeAlias = Literal["passed", "failed", "broken"]


@dataclass(frozen=True, slots=True)
class SandboxTest:
    code: str
    #: Code that runs before, in the sandbox of the test.
    setup: str = ""
    #: Names in the test with the program's name for each; None is every name that neither the test
    #: nor Python defines.
    names: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class SandboxTestResult:
    verdict: SandboxVerdict
    why: str = ""


class Sandbox:
    """Runs code that models wrote.

    Raises:
        SettingsError: no sandbox is possible on this machine; the message says what would help.
    """

    def __init__(self, seconds: float = TEST_SECONDS, total_seconds: float = TOTAL_SECONDS) -> None:
        self._bubblewrap = detect_bubblewrap()
        self._seconds, self._total_seconds = seconds, total_seconds

    def run_tests(
        self, programs: Sequence[str], tests: Sequence[SandboxTest]
    ) -> Generator[SandboxTestResult, None, None]:
        """The result of each test in order; the caller may stop early.

        After one timeout the remaining tests fail too: the program would time out again.

        Args:
            programs: candidate sources; the first that is valid Python is the program.
            tests: each runs in its own namespace.
        """
        done, deadline = 0, time.monotonic() + self._total_seconds
        has_timed_out = False
        while done < len(tests):
            if has_timed_out or time.monotonic() >= deadline:
                yield from [SandboxTestResult("failed", TIMED_OUT)] * (len(tests) - done)
                return
            with self._start_pair(programs, tests, done) as report:
                for result in self._read_results(report, len(tests) - done, deadline):
                    done += 1
                    yield result
                has_timed_out = report.why == TIMED_OUT

    def check_output(
        self, programs: Sequence[str], stdin_text: str, expected: str
    ) -> SandboxTestResult:
        """Whether the program, run as a script, prints the expected words for its standard input."""
        max_bytes = len(expected) * 4 + _EXTRA_OUTPUT
        read, write = os.pipe()
        with ExitStack() as stack:
            stack.callback(os.close, read)
            try:
                script = self._bubblewrap.start(
                    "script",
                    {"programs": list(programs), "started": write},
                    pipes=(write,),
                    stdin_data=stdin_text.encode("utf-8", "replace"),
                    stdout=subprocess.PIPE,
                )
                process = stack.enter_context(script)
            finally:
                os.close(write)
            OutputReader(read, 1).read_more(time.monotonic() + _START_SECONDS)
            output = OutputReader(_fileno(process.stdout), max_bytes)
            deadline = time.monotonic() + self._seconds
            while output.read_more(deadline):
                pass
        if not output.is_ended:
            return SandboxTestResult("failed", output.why)
        # Compare words, as most contests do; ignore the exit status.
        if output.text.decode("utf-8", "replace").split() == expected.split():
            return SandboxTestResult("passed")
        return SandboxTestResult("failed", "it prints something else")

    @contextmanager
    def _start_pair(
        self, programs: Sequence[str], tests: Sequence[SandboxTest], first: int
    ) -> Iterator["OutputReader"]:
        """Start a process with the program, and one with the tests from number ``first`` on."""
        with ExitStack() as stack:
            (request_read, request_write), (reply_read, reply_write) = os.pipe(), os.pipe()
            try:
                program = self._bubblewrap.start(
                    "program",
                    {"programs": list(programs), "read": request_read, "write": reply_write},
                    pipes=(request_read, reply_write),
                )
                stack.enter_context(program)
                arguments = {"tests": [asdict(test) for test in tests], "first": first}
                tester = self._bubblewrap.start(
                    "tests",
                    arguments | {"read": reply_read, "write": request_write},
                    pipes=(reply_read, request_write),
                    stdout=subprocess.PIPE,
                )
                process = stack.enter_context(tester)
            finally:
                # Leave the pipes to the two processes, so that each notices the other's exit.
                for end in (request_read, request_write, reply_read, reply_write):
                    os.close(end)
            yield OutputReader(_fileno(process.stdout), _MAX_REPORT * (len(tests) + 2))

    def _read_results(
        self, report: "OutputReader", count: int, deadline: float
    ) -> Iterator[SandboxTestResult]:
        """Results of up to ``count`` tests; the first test without a result of its own is the last."""
        for index in range(-_START_LINES, count):
            seconds = self._seconds if index > -_START_LINES else _START_SECONDS
            line = report.read_line(min(time.monotonic() + seconds, deadline))
            if line is None and report.is_ended and index > 0:
                # The program has exited, and the next test needs a new process.
                return
            if line is None:
                why = report.why or "its tests have ended without a result"
                yield SandboxTestResult("failed", why)
                return
            if index >= 0:
                yield _parse_result(line)


def _parse_result(line: bytes) -> SandboxTestResult:
    """The result in a line of the report; the tests are untrusted too, and may write any line."""
    try:
        result = json.loads(line)
    except (ValueError, RecursionError):
        result = None
    match result:
        case ["passed" | "failed" | "broken" as verdict, str(why)]:
            return SandboxTestResult(verdict, why)
    return SandboxTestResult("failed", "its report cannot be parsed")


class OutputReader:
    """Reads the output of a process until it ends, a deadline passes, or it is too long."""

    def __init__(self, file: int, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        #: What was read and is not consumed yet.
        self.text = b""
        self.is_ended = False
        #: Why reading stopped before the end; for people.
        self.why = ""

    def read_more(self, deadline: float) -> bool:
        """Wait for more output; False at the end, at the deadline, or if the output is too long."""
        seconds = deadline - time.monotonic()
        if seconds <= 0 or not self._poll.poll(seconds * 1000):
            self.why = TIMED_OUT
            return False
        data = os.read(self._file, 65_536)
        self.is_ended = not data
        self.text += data
        if len(self.text) > self._max_bytes:
            self.why = "it prints too much"
            return False
        return bool(data)

    def read_line(self, deadline: float) -> bytes | None:
        """The next line; None if there is none before the deadline."""
        while b"\n" not in self.text:
            if not self.read_more(deadline):
                return None
        line, _, self.text = self.text.partition(b"\n")
        return line


def _fileno(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe.fileno()
