"""Mathematics: equal as values, by math-verify, in a child that may take as long as it likes."""

import atexit
import json
import select
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import IO, Any, ClassVar

from archon_batch.archon import boxed, expression
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric, Score, right, unread

#: Seconds for one comparison. Powers of powers would keep sympy busy for good.
_PATIENCE = 10.0
#: Seconds until the child is there: it imports sympy.
_START = 120.0
#: Characters of an answer that are compared: what is longer is no final answer.
_LONGEST = 2_000


class Maths(Metric):
    r"""Equal as values: ``\frac{1}{2}`` is ``0.5``, sets and intervals are themselves in any order.

    The answer is what is boxed, a JSON field of that name, or the expression that the answer is said
    to be; it is compared as a whole or not at all.
    """

    name: ClassVar[str] = "math"
    wants: ClassVar[str] = "an expression, in LaTeX or plain"

    def prepared(self, reference: object) -> str:
        if isinstance(reference, bool) or not isinstance(reference, str | int | float):
            raise ValueError(self.wants)  # noqa: TRY004
        text = str(reference).strip()
        if not text or len(text) > _LONGEST:
            raise ValueError(self.wants)
        # A whole solution has its answer in a box.
        return _in_a_box((expression(text) if boxed(text) else None) or text)

    def score(self, answer: str, reference: str) -> Score:
        if not answer.strip():
            return unread("the answer is empty")
        said = expression(answer)
        if said is None:
            return unread("it says no expression that is its answer, or was cut off before")
        if len(said) > _LONGEST:
            return unread(f"an expression of more than {_LONGEST:,} characters")
        verdict = _child().asked({"answer": _in_a_box(said), "reference": reference})
        if verdict is None:
            return unread(f"no verdict in {_PATIENCE:.0f} s")
        if verdict["read"] is None:
            return unread("its expression cannot be parsed as a whole")
        return right(verdict["read"], is_right=verdict["right"])


def _in_a_box(expression: str) -> str:
    return f"\\boxed{{{expression.strip('$ ')}}}"


class _Child:
    """The process that compares: started when it is first needed, and again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def asked(self, question: dict[str, str]) -> Any:  # noqa: ANN401
        """What the child says; None of one that took too long, or died of it."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._end()
                self._process = _started()
            # Pipes they are: Popen was told so.
            into, out = _pipe(self._process.stdin), _pipe(self._process.stdout)
            with suppress(BrokenPipeError):
                into.write(json.dumps(question) + "\n")
                into.flush()
                if select.select([out], [], [], _PATIENCE)[0] and (line := out.readline()):
                    return json.loads(line)
            self._end()
            return None

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            _killed(self._process)
        self._process = None


@cache
def _child() -> _Child:
    """One for all metrics of this process: it takes seconds to start."""
    child = _Child()
    atexit.register(child.close)
    return child


def _started() -> subprocess.Popen[str]:
    # It ends when its standard input does: with this process, at the latest.
    process = subprocess.Popen(
        [sys.executable, "-m", "archon_batch.evaluation.metrics.maths_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    out = _pipe(process.stdout)
    if not select.select([out], [], [], _START)[0] or not out.readline():
        _killed(process)
        raise InputError("the metric math needs: pip install 'archon-batch[score]'")
    return process


def _killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    with suppress(BrokenPipeError):
        process.communicate()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe
