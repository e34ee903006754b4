"""Final answers, as they are compared."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archon_batch.archon.answers import EXTRACTORS, boxed, letter, matched, number, plain
from tests.archon.components.hostile import slow


@pytest.mark.parametrize(
    ("alike", "answer"),
    [
        (["5", " 5 ", "5.", "5.0", "\\ 5", "\\left5\\right", "\\$5", "5\\%", "+5"], "5"),
        (["1000", "1,000", "1{,}000", "1,\\!000.0", "1\\,000"], "1000"),
        (["-3", "\u22123", "-3.00"], "-3"),
        (["0.5", ".5", "0.50"], "0.5"),
        (
            [
                *("1/2", "2/4", "\\frac{1}{2}", "\\dfrac{1}{2}", "\\tfrac12"),
                *("\\frac 1 2", "\\displaystyle\\frac{1}{2}"),
            ],
            "1/2",
        ),
        (["-\\frac{1}{2}", "-1/2"], "-1/2"),
        (["2\\frac{1}{2}", "2\\dfrac12"], "2\\frac{1}{2}"),
        (["\\frac{\\sqrt{2}}{2}", "\\dfrac{\\sqrt{2}}{2}"], "\\frac{\\sqrt{2}}{2}"),
        (["5\\text{ cm}", "5\\,\\mathrm{cm}", "5 cm", "5~\\textbf{cm}"], "5cm"),
        (["90^\\circ", "90^{\\circ}"], "90"),
        (["\\left(3, -4\\right)", "(3,-4)", "(3,\\ -4)"], "(3,-4)"),
        (["\\{1, 2\\}", "\\left\\{1,2\\right\\}"], "\\{1,2\\}"),
        (["x \\leftarrow 1"], "x\\leftarrow1"),
        (["\\text{(B)}", "(B)"], "(B)"),
    ],
)
def test_boxed_answers_that_differ_in_tex_only_are_alike(alike, answer):
    assert [boxed(f"so it is \\boxed{{{told}}}.") for told in alike] == [answer] * len(alike)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1} and then \\boxed{2}.", "2"),
        ("\\boxed{\\frac{a}{b^{2}}} is it}", "\\frac{a}{b^{2}}"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{}", None),
        ("\\boxed{ . }", None),
        ("\\boxed{\\frac{1}{2}", None),
        ("boxed{1}", None),
        ("", None),
    ],
)
def test_the_last_box_counts_with_all_its_braces(text, answer):
    assert boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 1,000.", "1000"),
        ("1000.0", "1000"),
        ("$1,000.00", "1000"),
        ("1,234,567.80 in all", "1234567.8"),
        ("from 2, or 1,2345", "2345"),
        ("x = -5", "-5"),
        ("x=-5", "-5"),
        ("(\u22125)", "-5"),
        ("a loss of -$5", "-5"),
        ("+7", "7"),
        ("-0.0", "0"),
        ("007", "7"),
        (".5", "0.5"),
        ("3.11.2", "2"),
        # A hyphen between numbers is no sign.
        ("pages 10-15", "15"),
        ("(8)-5", "5"),
        ("50%-60%", "60"),
        ("1.5e-7", "0.00000015"),
        ("2E3", "2000"),
        ("2e3x", "3"),
        # Halves and quarters are not their denominators.
        ("3/4", "3/4"),
        ("6/8.", "3/4"),
        ("-4/2", "-2"),
        ("1/0", "1/0"),
        ("1/2.5", "2.5"),
        ("1/1234567890", "1234567890"),
        ("on 12/05/2024", "2024"),
        ("\u0661\u0662", "12"),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_is_written_the_shortest_way(text, answer):
    assert number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # A field of a JSON object, with more said below it, and quotation marks within.
        ('{"reasoning": "3 x 5", "answer": "15"}\n\nIn 2 steps.', "15"),
        ('{"answer": 15, "steps": 2}', "15"),
        ('{"final_answer": "it is \\"15\\" or so"} 2', "15"),
        ('{"answer": "2:00 pm"}', "2"),
        # It says that there is none.
        ('Of 12 we know nothing. {"answer": "cannot be told"}', None),
        ('{"answer": null, "tried": 3}', None),
        # As GSM8K's solutions end; a heading does not.
        ("4 + 5 = 9\n#### 9\n(in 2 steps)", "9"),
        ("#### 1. Add\n3 + 4 is 7", "7"),
        ("so \\boxed{12}, in 2 steps", "12"),
        ("The answer is 15, found in 2 steps.", "15"),
        ("The answer is 3 * 5 = 15. It took 2 steps.", "15"),
        ("Answer: 2.5\n(of 7)", "2.5"),
        ("The answer is 7. No: the answer is 8 of 9.", "8"),
        # Not an answer that comes, and an answer without a number.
        ("I answered 3 questions of 4", "4"),
        ("The answer is clear. So 7", "7"),
    ],
)
def test_the_number_that_is_said_to_be_the_answer_goes_before_the_last(text, answer):
    assert number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("(A)", "A"),
        ("**B**", "B"),
        ("The answer is C.", "C"),
        ("the answer is (D)", "D"),
        ("**Answer: E**", "E"),
        ("Final Answer\n\nF", "F"),
        ("Answer: \\(G\\)", "G"),
        ("The correct answer choice is H, as shown", "H"),
        ("I", "I"),
        ("J) Paris", "J"),
        ("\\boxed{C}", "C"),
        ("\\boxed{\\text{C}}", "C"),
        ("**C.**", "C"),
        ("**C. Paris**", "C"),
        ("I think D", "D"),
        # A word is no letter of a choice.
        ("A good answer.", None),
        ("A good way is to ask.", None),
        ("I would ask.", None),
        ("Answer: A good way is B.", "B"),
        ("The answer, I believe, is C.", "C"),
        ("The answer, I'd say: C", "C"),
        ("The answer, I\u2019d say: C", "C"),
        ("The answer is A because it holds, and B) does not.", "A"),
        ("the answer is a", None),
        # What follows an answer explains it.
        ("The answer is B.\n\nOption C is wrong. (D) is silly.", "B"),
        ("Option C is right, and (D) is silly.", "C"),
        ("The answer is A. No: the answer is B.", "B"),
        ("(D), since P(B) is a half", "D"),
        ("K", None),
        ("", None),
    ],
)
def test_a_letter_is_found_where_a_model_points_at_it(text, answer):
    assert letter(text) == answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "  **PARIS** "),
        ("New\n York", "new york"),
        ("\uff21\uff22", "ab"),
        ("Cafe\u0301", "caf\xe9"),
        ("Stra\xdfe", "STRASSE"),
        ("e\u0301" * 100, "\xe9" * 100),
    ],
)
def test_texts_that_differ_in_case_spacing_or_spelling_of_accents_are_alike(one, other):
    assert plain(one) == plain(other)


@pytest.mark.parametrize(("text", "answer"), [("?!", "?!"), (" \n", None), ("", None)])
def test_marks_alone_are_a_text_and_nothing_is_none(text, answer):
    assert plain(text) == answer


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        ("x=(\\d+)", "x=1, x=2", "2"),
        ("x=\\d+", "x=1, X=2", "x=1"),
        ("x=(\\d+)|end", "x=1 end", "1"),
        ("(x)(y)", "xy", "x"),
        ("x=(\\d+)", "y=1", None),
        ("( )", "a b", None),
        ("#### (.*)", "#### Yes.\n", "yes"),
    ],
)
def test_a_pattern_takes_its_last_match_and_of_that_the_first_group(pattern, text, answer):
    assert matched(re.compile(pattern), text) == answer


@pytest.mark.parametrize("name", EXTRACTORS)
@given(text=st.text())
@example(text="\\boxed{" * 9 + "}" * 9)
@example(text="1e999 1/0 00/00 $")
@example(text="\ud800")
def test_any_text_has_an_answer_that_says_something_or_none(name, text):
    for told in (text, f"\\boxed{{{text}}}", f"Answer: {text}"):
        answer = EXTRACTORS[name](told)

        assert answer is None or answer.strip()


@given(
    value=st.decimals(allow_nan=False, allow_infinity=False, places=3),
)
def test_a_number_that_is_written_again_is_the_same(value):
    once = number(f"{value:,}")

    assert once is not None
    assert number(once) == once
    assert number(f"{value:f}") == once


@pytest.mark.parametrize("name", EXTRACTORS)
def test_no_text_takes_long(name):
    assert slow(EXTRACTORS[name]) == []


def test_a_pattern_of_words_is_compared_quickly_whatever_it_matches():
    assert slow(lambda text: matched(re.compile(r"(?s)(.+)"), text)) == []
