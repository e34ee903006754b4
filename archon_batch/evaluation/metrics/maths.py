"""Mathematical equality by math-verify, in a child process with a time limit."""

import atexit
import json
import select
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import IO, Any, ClassVar

from archon_batch.archon import extract_boxed, extract_expression
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric, binary_score, unparsed_score
from archon_batch.scores import Score

#: Seconds per comparison: sympy may never finish a power of powers.
_COMPARISON_TIMEOUT = 10.0
#: Seconds for the child process to start: it imports sympy.
_STARTUP_TIMEOUT = 120.0
#: A longer expression is no final answer.
_MAX_EXPRESSION_CHARS = 2_000


class MathMetric(Metric):
    r"""1 if the values are equal: ``\frac{1}{2}`` and ``0.5``, or a set in any order.

    The expression is in a box, in the JSON field ``answer``, or follows the words that announce it.
    It is parsed as a whole or not at all.
    """

    name: ClassVar[str] = "math"
    expected_reference: ClassVar[str] = "an expression, in LaTeX or plain"

    def parse_reference(self, reference: object) -> str:
        if isinstance(reference, bool) or not isinstance(reference, str | int | float):
            raise ValueError(self.expected_reference)  # noqa: TRY004
        text = str(reference).strip()
        if not text or len(text) > _MAX_EXPRESSION_CHARS:
            raise ValueError(self.expected_reference)
        # The reference may be a whole solution with its answer in a box.
        return _boxed((extract_expression(text) if extract_boxed(text) else None) or text)

    def score(self, answer: str, reference: str) -> Score:
        if not answer.strip():
            return unparsed_score("the answer is empty")
        expression = extract_expression(answer)
        if expression is None:
            return unparsed_score(
                "the answer names no final expression, or was truncated before it"
            )
        if len(expression) > _MAX_EXPRESSION_CHARS:
            return unparsed_score(
                f"an expression of more than {_MAX_EXPRESSION_CHARS:,} characters"
            )
        verdict = _comparison_process().compare(
            {"answer": _boxed(expression), "reference": reference}
        )
        if verdict is None:
            return unparsed_score(f"no verdict in {_COMPARISON_TIMEOUT:.0f} s")
        if verdict["read"] is None:
            return unparsed_score("the expression cannot be parsed as a whole")
        return binary_score(verdict["read"], is_correct=verdict["right"])


def _boxed(expression: str) -> str:
    return f"\\boxed{{{expression.strip('$ ')}}}"


class _ComparisonProcess:
    """The child process; it starts on first use and restarts after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def compare(self, question: dict[str, str]) -> Any:  # noqa: ANN401
        """The verdict of the child; None if it timed out or died."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._stop()
                self._process = _start_process()
            into, out = _require_pipe(self._process.stdin), _require_pipe(self._process.stdout)
            with suppress(BrokenPipeError):
                into.write(json.dumps(question) + "\n")
                into.flush()
                if select.select([out], [], [], _COMPARISON_TIMEOUT)[0] and (
                    line := out.readline()
                ):
                    return json.loads(line)
            self._stop()
            return None

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            _kill(self._process)
        self._process = None


@cache
def _comparison_process() -> _ComparisonProcess:
    """The one child of this process, since it takes seconds to start."""
    child = _ComparisonProcess()
    atexit.register(child.close)
    return child


def _start_process() -> subprocess.Popen[str]:
    # The child exits when its standard input closes: with this process, at the latest.
    process = subprocess.Popen(
        [sys.executable, "-m", "archon_batch.evaluation.metrics.maths_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    out = _require_pipe(process.stdout)
    if not select.select([out], [], [], _STARTUP_TIMEOUT)[0] or not out.readline():
        _kill(process)
        raise InputError("the metric math needs: pip install 'archon-batch[score]'")
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    with suppress(BrokenPipeError):
        process.communicate()


def _require_pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe
