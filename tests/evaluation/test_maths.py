"""Mathematical equality in a child process with a time limit."""

import sys

import pytest

from archon_batch.errors import InputError
from archon_batch.evaluation.metrics import METRICS, maths


def scored(answer, reference):
    metric = METRICS["math"]()
    return metric.score(answer, metric.parse_reference(reference))


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        (r"So it is $\boxed{\frac{1}{2}}$.", "0.5", 1),
        (r"\boxed{\frac12}", r"\frac{2}{4}", 1),
        ('{"reasoning": "x", "answer": "\\\\frac{3}{4}"}', "3/4", 1),
        (r"\boxed{\{3, 1, 2\}}", r"\{1, 2, 3\}", 1),
        (r"\boxed{x^2 + 2x + 1}", "(x+1)^2", 1),
        (r"\boxed{12}", "1", 0),
        ("#### 18", r"He has \boxed{18}", 1),
        (r"first \boxed{3}, no: \boxed{4}", "4", 1),
        (r"\boxed{2\sqrt{3}}", r"\sqrt{12}", 1),
        ("The final answer is \\(\\frac{3}{4}\\), in 3 steps.", "0.75", 1),
        ("Hence we have $x = 12$.", "12", 1),
        (r"\boxed{3 \text{ or } 12}", "12", 0),
    ],
)
def test_equal_values_match_in_any_notation(answer, reference, value):
    assert scored(answer, reference).value == value


@pytest.mark.parametrize(
    "answer",
    [
        # The last number can be parsed, the whole expression cannot.
        *(r"\boxed{???12}", r"\boxed{\foo{3} & 12}", r"\boxed{12 ...}"),
        # Truncated within the answer, or before it.
        *(
            "so \\boxed{12",
            '{"reasoning": "3 * 4 = 12',
            "We get $x = 12$ and then",
            "3 times 4 is 12",
        ),
    ],
)
def test_an_incomplete_expression_is_unparsed(answer):
    score = scored(answer, "12")

    assert (score.value, score.unparsed_reason is None) == (0, False)


@pytest.mark.parametrize("answer", ["", " \n"])
def test_an_empty_answer_is_unparsed(answer):
    assert scored(answer, "3").unparsed_reason == "the answer is empty"


def test_a_comparison_that_times_out_is_unparsed_and_the_next_succeeds(monkeypatch):
    scored("1", "1")
    monkeypatch.setattr(maths, "_COMPARISON_TIMEOUT", 1.0)

    endless = scored(r"\boxed{9^{9^{9^{9}}}}", "3")
    monkeypatch.undo()

    assert (endless.value, endless.unparsed_reason) == (0, "no verdict in 1 s")
    assert scored("1", "1").value == 1


def test_a_child_that_died_is_restarted():
    scored("1", "1")
    child = maths._comparison_process()
    assert child._process is not None
    child._process.kill()
    child._process.wait()

    assert scored("1", "1").value == 1


def test_without_math_verify_the_error_says_what_to_install(monkeypatch):
    maths._comparison_process().close()
    monkeypatch.setattr(sys, "executable", "/bin/true")

    with pytest.raises(InputError, match=r"archon-batch\[score\]"):
        scored("1", "1")
