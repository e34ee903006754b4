"""Programs: right when they pass the reference's tests, which are run in a sandbox."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Protocol, Self

from archon_batch.archon import LEAST_SECONDS, MOST_SECONDS, SECONDS, called_in, code_of
from archon_batch.evaluation.metric import Metric, Score, Scored, right, unread
from archon_batch.evaluation.statistics import pass_at_k
from archon_batch.sandbox import Check, Outcome, Sandbox

#: Samples of a problem that pass@k is told for.
_KS = (1, 2, 5, 10, 20, 50, 100, 200)


class Runs(Protocol):
    """Whoever runs a program: the sandbox, or a stand-in."""

    def tested(self, programs: Sequence[str], tests: Sequence[Check]) -> Iterator[Outcome]: ...

    def printed(self, programs: Sequence[str], given: str, right: str) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Exam:
    """What a program has to do."""

    tests: tuple[Check, ...] = ()
    #: What it is given on standard input, and what it has to print.
    talks: tuple[tuple[str, str], ...] = ()
    #: What stands before a program that is the body of a function, and the function's name.
    prompt: str = ""
    entry_point: str = ""
    #: What the tests call: the program has to define some of it.
    names: frozenset[str] = frozenset()

    def programs(self, code: str) -> list[str]:
        """What to run of the code: the first of these that is Python."""
        if not self.prompt:
            return [code]
        head = rf"^(?:async )?(?:def|class) {re.escape(self.entry_point)}\b"
        if re.search(head, code, re.MULTILINE):
            # The imports and helpers of the prompt count; its own function is overwritten.
            return [f"{self.prompt}\n    pass\n\n{code}\n", code]
        # An answer is stored without the white space before its first line.
        indented = "\n".join(f"    {line}" for line in code.split("\n"))
        return [f"{self.prompt}{body}\n" for body in (code, f"    {code}", indented)]


class Code(Metric):
    """Every test of the reference is passed. Only plain values are compared, outside the program.

    The code is what defines the names that the tests call. ``code:SECONDS`` is what a test may take of
    the clock, else three. The references are those of HumanEval (Chen
    et al., arXiv 2107.03374), MBPP (Austin et al., arXiv 2108.07732) and CodeContests (Li et al.,
    arXiv 2203.07814), by their own keys.

    Raises:
        SettingsError: by the first score, when there is no sandbox on this machine.
    """

    name: ClassVar[str] = "code"
    wants: ClassVar[str] = (
        "tests: an object with entry_point and test, with test_list, or with input and output"
    )

    def __init__(self, runs: Runs | None = None, seconds: float = SECONDS) -> None:
        self._runs, self._seconds = runs, seconds

    @classmethod
    def of(cls, argument: str | None = None) -> Self:
        try:
            seconds = SECONDS if argument is None else float(argument)
        except ValueError:
            seconds = 0
        if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            raise ValueError(f"seconds for a test, from {LEAST_SECONDS:g} to {MOST_SECONDS:g}")
        return cls(seconds=seconds)

    def prepared(self, reference: object) -> Exam:
        if isinstance(reference, str):
            try:
                reference = json.loads(reference)
            except (ValueError, RecursionError):
                raise ValueError(self.wants) from None
        exam = _exam(reference if isinstance(reference, dict) else {"test_list": reference})
        if exam is None:
            raise ValueError(self.wants)
        return exam

    def score(self, answer: str, reference: Exam) -> Score:
        code = code_of(answer, reference.names)
        if not code:
            return unread("there is no code in the answer")
        if self._runs is None:
            self._runs = Sandbox(self._seconds)
        programs, passed = reference.programs(code), 0
        for outcome in self._outcomes(programs, reference):
            if outcome.verdict != "passed":
                return right(f"test {passed + 1}: {outcome.why}", is_right=False)
            passed += 1
        return right(f"{passed} tests passed", is_right=True)

    def summary(self, rows: Sequence[Scored]) -> Mapping[str, Any]:
        """pass@k without bias, where a problem has several rows: those of the same reference."""
        of_each: dict[object, list[float]] = defaultdict(list)
        for row in rows:
            of_each[row.reference].append(row.score.value or 0.0)
        fewest = min(map(len, of_each.values()), default=0)
        if max(map(len, of_each.values()), default=0) < 2:  # noqa: PLR2004  (one row each)
            return {}
        return {
            "problems": len(of_each),
            "pass@k": {
                str(k): fmean(pass_at_k(len(v), int(sum(v)), k) for v in of_each.values())
                for k in _KS
                if k <= fewest
            },
        }

    def _outcomes(self, programs: list[str], exam: Exam) -> Iterator[Outcome]:
        if self._runs is None:
            raise ValueError("no sandbox")
        if exam.tests:
            yield from self._runs.tested(programs, exam.tests)
        for given, wanted in exam.talks:
            yield self._runs.printed(programs, given, wanted)


def _exam(told: Mapping[str, Any]) -> Exam | None:
    match told:
        case {"entry_point": str(name), "test": str(test)} if name.isidentifier():
            prompt = told.get("prompt") or ""
            if not isinstance(prompt, str):
                return None
            names = ((name, name), ("candidate", name))
            code = f"{test}\ncheck(candidate)\n"
            check = Check(code, prompt and f"{prompt}\n    pass\n", names)
            return Exam((check,), (), prompt, name, frozenset({name}))
        case {"test_list": [*tests]} if tests and _all_texts(tests):
            setup = told.get("test_setup_code") or ""
            if not isinstance(setup, str):
                return None
            checks = tuple(Check(test, setup) for test in tests)
            return Exam(checks, names=called_in([*tests, setup]))
        case {"input": [*given], "output": [*wanted]}:
            if given and len(given) == len(wanted) and _all_texts([*given, *wanted]):
                return Exam(talks=tuple(zip(given, wanted, strict=True)))
    return None


def _all_texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
