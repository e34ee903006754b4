"""The metric for programs."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.evaluation.metric import ScoredRow
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.metrics.code import CodeMetric
from archon_batch.evaluation.statistics import pass_at_k
from archon_batch.sandbox import SandboxTestResult

HUMANEVAL = {
    "task_id": "T/0",
    "prompt": "import math\n\ndef half(x):\n    return x / 2\n\ndef root(x: float) -> float:\n"
    '    """ The square root. """\n',
    "entry_point": "root",
    "test": "def check(candidate):\n    assert candidate(half(8)) == 2\n    assert candidate(9) == 3\n",
}
MBPP = {
    "test_list": ["assert root(n.value) == 2", "assert root(9) == 3"],
    "test_setup_code": "class Four:\n    value = 4\nn = Four()",
}
TALKS = {"input": ["4\n", "9\n"], "output": ["2.0\n", "3.0"]}


class Never:
    """Runs nothing and reports a failure."""

    def run_tests(self, _programs, tests):
        yield from [SandboxTestResult("failed", "never")] * len(tests)

    def check_output(self, *_told):
        return SandboxTestResult("failed", "never")


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("```python\ndef root(x):\n    return math.sqrt(x)\n```", HUMANEVAL, 1),
        ("def root(x):\n    return 2.0", HUMANEVAL, 0),
        ("    return math.sqrt(x)", HUMANEVAL, 1),
        ("return math.sqrt(x)", HUMANEVAL, 1),
        ("y = x ** 0.5\nreturn y", HUMANEVAL, 1),
        ("y = x ** 0.5\n    return y", HUMANEVAL, 1),
        (
            "```python\ndef root(x):\n    return x ** 0.5\n```\n```bash\npython a.py\n```",
            HUMANEVAL,
            1,
        ),
        ("```python\ndef root(x):\n    return x ** 0.5\n```\n```python\nroot(4)\n```", MBPP, 1),
        ("I cannot.", HUMANEVAL, 0),
        ("root = lambda x: x ** 0.5", MBPP, 1),
        ("root = lambda x: 2", json.dumps(MBPP), 0),
        ("def root(x):\n    return x ** 0.5", MBPP["test_list"][1:], 1),
        ("print(float(input()) ** 0.5)", TALKS, 1),
        ("print(2.0)", TALKS, 0),
    ],
)
def test_a_program_must_pass_every_test(sandbox, answer, reference, value):
    metric = CodeMetric(sandbox)

    score = metric.score(answer, metric.parse_reference(reference))

    assert (score.value, score.unparsed_reason) == (value, None)


@pytest.mark.parametrize(
    "reference",
    [None, "a", [], {}, [1], {"test": "x"}, {"entry_point": "a b", "test": "x"},
     {"input": ["1"], "output": []}, {"test_list": ["assert f()"], "test_setup_code": 1}],
)  # fmt: skip
def test_a_reference_without_tests_is_rejected_with_a_hint(reference):
    with pytest.raises(ValueError, match="tests: an object with entry_point and test"):
        METRICS["code"]().parse_reference(reference)


def test_the_time_limit_of_a_test_is_an_argument(sandbox):
    del sandbox
    waits = "import time\ndef root(x):\n    time.sleep(0.5)\n    return x ** 0.5"
    hasty, patient = METRICS["code"].from_argument("0.2"), METRICS["code"].from_argument("20")

    found = [
        one.score(waits, one.parse_reference(MBPP["test_list"][1:])) for one in (hasty, patient)
    ]

    assert [score.value for score in found] == [0, 1]
    assert found[0].extracted == "test 1: timed out"
    for text in ("0", "61", "nan", "soon", ""):
        with pytest.raises(ValueError, match=r"seconds for a test, from 0\.1 to 60"):
            METRICS["code"].from_argument(text)


def test_an_answer_without_code_is_unparsed():
    metric = CodeMetric(Never())

    assert (
        metric.score(" \n", metric.parse_reference(MBPP)).unparsed_reason
        == "there is no code in the answer"
    )


@given(answer=st.text(), reference=st.sampled_from([HUMANEVAL, MBPP, TALKS]))
def test_any_answer_has_a_score(answer, reference):
    metric = CodeMetric(Never())

    assert metric.score(answer, metric.parse_reference(reference)).value == 0


def test_rows_with_the_same_reference_are_samples_of_one_problem():
    metric = CodeMetric(Never())
    worth = [(HUMANEVAL, 1), (HUMANEVAL, 0), (MBPP, 0), (MBPP, 0)]
    rows = [
        ScoredRow(
            ix,
            str(ix),
            "",
            metric.parse_reference(of),
            {},
            metric.score("x", metric.parse_reference(of)),
        )
        for ix, (of, _) in enumerate(worth)
    ]
    right = [type(row.score)(float(value)) for row, (_, value) in zip(rows, worth, strict=True)]
    rows = [
        ScoredRow(r.ix, r.row_id, r.answer, r.reference, {}, s)
        for r, s in zip(rows, right, strict=True)
    ]

    assert metric.summary(rows) == {"problems": 2, "pass@k": {"1": 0.25, "2": 0.5}}
    assert metric.summary(rows[1:3]) == {}


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_samples_with_a_correct_one(samples, data):
    k = data.draw(st.integers(1, len(samples)))
    draws = list(combinations(samples, k))

    assert pass_at_k(len(samples), sum(samples), k) == pytest.approx(
        sum(map(any, draws)) / len(draws)
    )
