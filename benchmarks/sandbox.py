"""Verdicts of the sandbox on programs of known correctness.

    python -m benchmarks.sandbox PATH

PATH contains humaneval/HumanEval.jsonl and mbpp/mbpp.jsonl (both as published) and
replay/humaneval_10codegen_gpt4tests.jsonl: per row ``prompt entry_point hidden_test unit_tests
candidates``, with candidates of ``output correct unit_tests_passed``. Then attack programs run against
the sandbox.
"""

import ast
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any

from archon_batch.archon import extract_program
from archon_batch.evaluation.metrics.code import CodeMetric
from archon_batch.sandbox import Sandbox, SandboxTest, run_attacks
from archon_batch.sandbox.runner import TIMED_OUT

Row = dict[str, Any]
#: Seconds per test: the published solution of MBPP/123 needs six, and many samples never end.
SECONDS, OF_SAMPLES, ALL_OF_A_SAMPLE = 60, 8, 40
#: The output lists at most this many rows.
NAMED = 20


def main(folder: Path) -> int:
    code = CodeMetric(Sandbox(SECONDS))
    humaneval = read_rows(folder / "humaneval" / "HumanEval.jsonl")
    print_pass_rate(
        "HumanEval, canonical solutions",
        humaneval,
        lambda r: passes(code, r["canonical_solution"], r),
    )
    print_pass_rate("HumanEval, emptied bodies", humaneval, lambda r: passes(code, "    pass", r))
    mbpp = read_rows(folder / "mbpp" / "mbpp.jsonl")
    print_pass_rate("MBPP, published solutions", mbpp, lambda r: passes(code, r["code"], r))
    print_pass_rate(
        "MBPP, emptied bodies", mbpp, lambda r: passes(code, empty_function_bodies(r["code"]), r)
    )
    check_recorded_candidates(
        code, read_rows(folder / "replay" / "humaneval_10codegen_gpt4tests.jsonl")
    )
    attacks = list(run_attacks())
    print(f"hostile programs: {sum(a.contained for a in attacks)} of {len(attacks)} held")
    for attack in attacks:
        print(f"  {'held' if attack.contained else 'THROUGH'}: {attack.name} ({attack.why})")
    return 0


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def passes(code: CodeMetric, answer: str, reference: Row) -> bool:
    return code.score(answer, code.parse_reference(reference)).value == 1


def map_parallel(rows: Iterable[Row], what: Callable[[Row], Any]) -> list[Any]:
    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(what, rows))


def print_pass_rate(title: str, rows: list[Row], what: Callable[[Row], bool]) -> None:
    begun = time.monotonic()
    passed = map_parallel(rows, what)
    seconds = (time.monotonic() - begun) / len(rows)
    print(f"{title}: {sum(passed)} of {len(rows)} pass, {seconds:.2f} s each", flush=True)
    if 0 < len(rows) - sum(passed) < NAMED:
        print("  not:", [row["task_id"] for row, ok in zip(rows, passed, strict=True) if not ok])


def empty_function_bodies(program: str) -> str:
    """The program with empty function bodies."""
    tree = ast.parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def check_recorded_candidates(code: CodeMetric, packs: list[Row]) -> None:
    """Compare ten samples of each problem with their recorded grades, and select by their tests."""
    begun = time.monotonic()
    graded = map_parallel(packs, lambda pack: grades(code, pack))
    differing = [
        (pack["id"], n, grade, candidate["correct"])
        for pack, (_, hidden) in zip(packs, graded, strict=True)
        for n, (candidate, grade) in enumerate(zip(pack["candidates"], hidden, strict=True))
        if grade != candidate["correct"]
    ]
    tests = verdicts = 0
    for pack, (passed, _) in zip(packs, graded, strict=True):
        for candidate, grade in zip(pack["candidates"], passed, strict=True):
            tests += len(grade)
            verdicts += sum(
                a == b for a, b in zip(grade, candidate["unit_tests_passed"], strict=True)
            )
    total = sum(len(pack["candidates"]) for pack in packs)
    print(f"recorded solutions: {total - len(differing)} of {total} graded as recorded")
    for row in differing:
        print("  {}, sample {}: our grade {}, recorded {}".format(*row))
    print(f"recorded unit tests: {verdicts} of {tests} verdicts as recorded")
    most, dual = rank_accuracy(graded, dual=False), rank_accuracy(graded, dual=True)
    chance = sum(sum(hidden) / len(hidden) for _, hidden in graded) / len(graded)
    oracle = sum(any(hidden) for _, hidden in graded) / len(graded)
    print(f"picked by chance {chance:.2%}, by most tests passed {most:.2%}, ", end="")
    print(f"by dual agreement {dual:.2%}, by an oracle {oracle:.2%}")
    print(f"  {time.monotonic() - begun:.0f} s")


def rank_accuracy(graded: list[tuple[list[list[bool]], list[bool]]], *, dual: bool) -> float:
    """The share of problems of which the first of the best candidates is right."""
    right = 0
    for passed, hidden in graded:
        ranks = [(sum(own) * (passed.count(own) if dual else 1), sum(own)) for own in passed]
        right += hidden[ranks.index(max(ranks))]
    return right / len(graded)


def grades(code: CodeMetric, pack: Row) -> tuple[list[list[bool]], list[bool]]:
    """For each candidate: the unit tests it passes, and whether it passes the hidden test."""
    exam = code.parse_reference({**pack, "test": pack["hidden_test"]})
    tests = [*(SandboxTest(test) for test in pack["unit_tests"]), *exam.tests]
    of_each = [
        verdicts(exam.candidate_programs(extract_program(c["output"], exam.required_names)), tests)
        for c in pack["candidates"]
    ]
    return [passed[:-1] for passed in of_each], [passed[-1] for passed in of_each]


def verdicts(programs: list[str], tests: list[SandboxTest]) -> list[bool]:
    """Which tests pass, each run separately: a program stops at its first timeout."""
    sandbox, passed = Sandbox(OF_SAMPLES, ALL_OF_A_SAMPLE), list[bool]()
    while len(passed) < len(tests):
        for outcome in sandbox.run_tests(programs, tests[len(passed) :]):
            passed.append(outcome.verdict == "passed")
            if outcome.why == TIMED_OUT:
                break
    return passed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
