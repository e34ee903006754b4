"""Programs, which must pass the tests of the reference in a sandbox."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Protocol, Self

from archon_batch.archon import (
    DEFAULT_TEST_SECONDS,
    MAX_TEST_SECONDS,
    MIN_TEST_SECONDS,
    called_names,
    extract_program,
)
from archon_batch.evaluation.metric import Metric, ScoredRow, binary_score, unparsed_score
from archon_batch.evaluation.statistics import pass_at_k
from archon_batch.sandbox import Sandbox, SandboxTest, SandboxTestResult
from archon_batch.scores import Score

#: The values of k for which pass@k is reported.
_KS = (1, 2, 5, 10, 20, 50, 100, 200)


class ProgramRunner(Protocol):
    """Runs programs: the sandbox, or a fake in tests."""

    def run_tests(
        self, programs: Sequence[str], tests: Sequence[SandboxTest]
    ) -> Iterator[SandboxTestResult]: ...

    def check_output(
        self, programs: Sequence[str], stdin_text: str, expected: str
    ) -> SandboxTestResult: ...


@dataclass(frozen=True, slots=True)
class ProgramTests:
    """The tests of a program."""

    tests: tuple[SandboxTest, ...] = ()
    #: Standard input and expected standard output.
    io_cases: tuple[tuple[str, str], ...] = ()
    #: The code before a function body, and the name of the function.
    prompt: str = ""
    entry_point: str = ""
    #: Names that the tests call; the program must define at least one.
    required_names: frozenset[str] = frozenset()

    def candidate_programs(self, code: str) -> list[str]:
        """Variants of the program; the first valid Python is run."""
        if not self.prompt:
            return [code]
        head = rf"^(?:async )?(?:def|class) {re.escape(self.entry_point)}\b"
        if re.search(head, code, re.MULTILINE):
            # Keep the imports and helpers of the prompt; the code overwrites its function.
            return [f"{self.prompt}\n    pass\n\n{code}\n", code]
        # A stored answer lacks the white space before its first line.
        indented = "\n".join(f"    {line}" for line in code.split("\n"))
        return [f"{self.prompt}{body}\n" for body in (code, f"    {code}", indented)]


class CodeMetric(Metric):
    """1 if the program passes every test. Only plain values are compared, outside the program.

    The program is the code that defines the names that the tests call. ``code:SECONDS`` limits the
    wall time of a test (default: three seconds). References have the keys of HumanEval (Chen et al.,
    arXiv 2107.03374), MBPP (Austin et al., arXiv 2108.07732) or CodeContests (Li et al., arXiv
    2203.07814). Without a sandbox on this machine, ``score`` raises SettingsError.
    """

    name: ClassVar[str] = "code"
    expected_reference: ClassVar[str] = (
        "tests: an object with entry_point and test, with test_list, or with input and output"
    )

    def __init__(
        self, runner: ProgramRunner | None = None, seconds: float = DEFAULT_TEST_SECONDS
    ) -> None:
        self._runner, self._seconds = runner, seconds

    @classmethod
    def from_argument(cls, argument: str | None = None) -> Self:
        try:
            seconds = DEFAULT_TEST_SECONDS if argument is None else float(argument)
        except ValueError:
            seconds = 0
        if not MIN_TEST_SECONDS <= seconds <= MAX_TEST_SECONDS:
            raise ValueError(
                f"seconds for a test, from {MIN_TEST_SECONDS:g} to {MAX_TEST_SECONDS:g}"
            )
        return cls(seconds=seconds)

    def parse_reference(self, reference: object) -> ProgramTests:
        if isinstance(reference, str):
            try:
                reference = json.loads(reference)
            except (ValueError, RecursionError):
                raise ValueError(self.expected_reference) from None
        exam = _parse_program_tests(
            reference if isinstance(reference, dict) else {"test_list": reference}
        )
        if exam is None:
            raise ValueError(self.expected_reference)
        return exam

    def score(self, answer: str, reference: ProgramTests) -> Score:
        code = extract_program(answer, reference.required_names)
        if not code:
            return unparsed_score("there is no code in the answer")
        if self._runner is None:
            self._runner = Sandbox(self._seconds)
        programs, passed = reference.candidate_programs(code), 0
        for outcome in self._outcomes(programs, reference):
            if outcome.verdict != "passed":
                return binary_score(f"test {passed + 1}: {outcome.why}", is_correct=False)
            passed += 1
        return binary_score(f"{passed} tests passed", is_correct=True)

    def summary(self, rows: Sequence[ScoredRow]) -> Mapping[str, Any]:
        """Unbiased pass@k if problems have several rows; rows of a problem share the reference."""
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

    def _outcomes(self, programs: list[str], exam: ProgramTests) -> Iterator[SandboxTestResult]:
        if self._runner is None:
            raise ValueError("no sandbox")
        if exam.tests:
            yield from self._runner.run_tests(programs, exam.tests)
        for given, wanted in exam.io_cases:
            yield self._runner.check_output(programs, given, wanted)


def _parse_program_tests(reference: Mapping[str, Any]) -> ProgramTests | None:
    match reference:
        case {"entry_point": str(name), "test": str(test)} if name.isidentifier():
            prompt = reference.get("prompt") or ""
            if not isinstance(prompt, str):
                return None
            names = ((name, name), ("candidate", name))
            code = f"{test}\ncheck(candidate)\n"
            check = SandboxTest(code, prompt and f"{prompt}\n    pass\n", names)
            return ProgramTests((check,), (), prompt, name, frozenset({name}))
        case {"test_list": [*tests]} if tests and _all_texts(tests):
            setup = reference.get("test_setup_code") or ""
            if not isinstance(setup, str):
                return None
            checks = tuple(SandboxTest(test, setup) for test in tests)
            return ProgramTests(checks, required_names=called_names([*tests, setup]))
        case {"input": [*given], "output": [*wanted]}:
            if given and len(given) == len(wanted) and _all_texts([*given, *wanted]):
                return ProgramTests(io_cases=tuple(zip(given, wanted, strict=True)))
    return None


def _all_texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
