"""Final answers, as they are compared."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archon_batch.archon.answer_extraction import (
    EXTRACTORS,
    extract_boxed,
    extract_expression,
    extract_letter,
    extract_match,
    extract_number,
    normalize_text,
)
from archon_batch.archon.timed_regex import compile_pattern
from tests.archon.components.hostile_texts import slow


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
def test_boxed_answers_that_differ_only_in_tex_are_equal(alike, answer):
    assert [extract_boxed(f"so it is \\boxed{{{told}}}.") for told in alike] == [answer] * len(
        alike
    )


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
def test_the_last_box_is_extracted_with_nested_braces(text, answer):
    assert extract_boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 1,000.", "1000"),
        ("1000.0", "1000"),
        ("$1,000.00", "1000"),
        ("1,234,567.80 in all", "1234567.8"),
        ("x = -5", "-5"),
        ("x=-5", "-5"),
        ("(\u22125)", "-5"),
        ("a loss of -$5", "-5"),
        ("+7", "7"),
        ("-0.0", "0"),
        ("007", "7"),
        (".5", "0.5"),
        ("1.5e-7", "0.00000015"),
        ("2E3", "2000"),
        # A half is not its denominator.
        ("3/4", "3/4"),
        ("6/8.", "3/4"),
        ("-4/2", "-2"),
        ("1/1234567890", "1/1234567890"),
        ("\u0661\u0662", "12"),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_is_normalised(text, answer):
    assert extract_number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # A JSON field, with more text after it, and quotes in it.
        ('{"reasoning": "3 x 5", "answer": "15"}\n\nIn 2 steps.', "15"),
        ('{"answer": 15, "steps": 2}', "15"),
        ('{"final_answer": "it is \\"15\\" or so"} 2', "15"),
        ('{"answer": "2:00 pm"}', "2"),
        # The text says that there is no answer.
        ('We know nothing about 12. {"answer": "cannot be told"}', None),
        ('{"answer": null, "tried": 3}', None),
        # The end of GSM8K solutions; not a heading.
        ("4 + 5 = 9\n#### 9\n(in 2 steps)", "9"),
        ("#### 1. Add\n3 + 4 is 7", "7"),
        ("so \\boxed{12}, in 2 steps", "12"),
        ("The answer is 15, found in 2 steps.", "15"),
        ("The answer is 3 * 5 = 15. It took 2 steps.", "15"),
        ("Answer: 2.5\n(of 7)", "2.5"),
        ("The answer is 7. No: the answer is 8 of 9.", "8"),
        # An announced answer that does not follow, and an answer without a number.
        ("I answered 3 questions of 4", "4"),
        ("The answer is clear. So 7", "7"),
    ],
)
def test_a_number_given_as_the_answer_takes_precedence_over_the_last_number(text, answer):
    assert extract_number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *(
            (f"The answer is ${told}$.", "3/4")
            for told in ("\\frac{3}{4}", "\\dfrac34", "\\frac 3 4")
        ),
        *(
            (told, "7/2")
            for told in ("3 1/2 hours", "\\boxed{3\\frac{1}{2}}", "3\u00bd", "3 \\frac12")
        ),
        *((told, "1024") for told in ("\\boxed{2^{10}}", "2^10", "2**10", "2\u00b9\u2070")),
        *(
            (told, "5000")
            for told in ("5 \\times 10^{3}", "5 \u00d7 10\u00b3", "5 x 10^3", "5e3", "5 thousand")
        ),
        ("3 * 10^-2", "0.03"),
        ("-3 1/2", "-7/2"),
        ("1.5 million dollars", "1500000"),
        *(
            (told, "1234567")
            for told in (
                *(
                    "1 234 567",
                    "1\u202f234\u202f567",
                    "1\u00a0234\u00a0567",
                    "1'234'567",
                    "1\u2019234\u2019567",
                ),
                *("12,34,567", "1.234.567", "1_234_567", "1\\,234\\,567", "1{,}234{,}567"),
            )
        ),
        *(
            (told, "1234.5")
            for told in ("1.234,5", "1 234,50", "$1,234.50", "1,234.5 USD", "\u20ac 1.234,50")
        ),
        *((told, "3.5") for told in ("3,5", "3.50", "3,50 \u20ac")),
        ("0,125", "0.125"),
        ("at 2:00 pm", "2"),
        *(
            (told, "-3")
            for told in ("The answer is \u2013 3.", "it is \u2212 3", "(-3)", "x = - 3", "-$3")
        ),
        *(
            (told, "5")
            for told in (
                "5 cm^2",
                "5 cm\u00b2",
                "5km",
                "\\boxed{5 \\text{ cm}^2}",
                "90\u00b0, so 5\u00b0",
            )
        ),
        *(
            (told, "7")
            for told in (
                "*7*",
                "_7_",
                "`7`",
                "<b>7</b>",
                "7!",
                "[7]",
                "the 7-year plan",
                "\n- 7 apples",
            )
        ),
        ("The answer is not 5, it is 7.", "7"),
        ("The answer isn't 5. It is 7", "7"),
        ("The answer is \\(\\frac{5}{2}\\) of 3", "5/2"),
        *(
            (told, "42")
            for told in (
                "**Final Answer:**\n\n42\n\n(Checked in 3 ways.)",
                "### Final Answer\n\n**42**\n\nIn 3 steps",
                "<answer>\n42\n</answer> (in 3 steps)",
                "The answer = 42 (in 3 steps)",
                "Die Antwort ist 42, in 3 Schritten",
                "La respuesta es 42 (3 pasos)",
                "R\u00e9ponse : 42 (3)",
                "\u7b54\u6848\u662f42\u3002\u5171 3 \u6b65",
                "\u7b54\u6848\uff1a42\uff08\u5171 3 \u6b65\uff09",
                '{"answer": 42, "steps": 3}',
                "#### 42 apples",
            )
        ),
    ],
)
def test_a_number_is_extracted_completely(text, answer):
    assert extract_number(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        # Roots, variables, functions, sums.
        *("\\boxed{\\sqrt{2}}", "\\boxed{2x}", "\\boxed{5\\pi}", "\\boxed{x^2+5}", "\\boxed{5!}"),
        *("2x", "4 x", "5m", "2e3x", "x - 5", "x-5", "f(2)", "log_2 8", "sin 30", "2^x", "2^{n+1}"),
        *(
            "3 + 4",
            "2*5",
            "2 x 3",
            "5 times 3",
            "5 squared",
            "\\frac{\\sqrt{3}}{2}",
            "\u221a2",
            "2(3)",
        ),
        # Several numbers, and ranges.
        *("\\boxed{3, 5}", "\\boxed{(3, 5)}", "The answers are 3, 5 and 7", "The answer is 5 or 6"),
        *("pages 10-15", "3\u20134 hours", "3 to 4 hours", "(8)-5", "50%-60%", "between 3 and 5"),
        *("2 hours and 30 minutes", "5 feet 4 inches", "12 apples and 3 pears", "5 and a half"),
        # Times, ratios, dates, names, bounds.
        *(
            "2:00",
            "at 2:30 pm",
            "3:4",
            "2024-05-03",
            "on 12/05/2024",
            "COVID-19",
            "H_2",
            "3-1/2",
            "1/2/3",
        ),
        *("> 5", "x < 5", "\\le 5", "x \\geq 5", "5 \u00b1 2", "5 \\pm 2"),
        # These are no valid numbers.
        *("1,2345", "3.11.2", "1/0", "1.2.3,4", "9" * 500, "1e999"),
        # Truncated in the answer, or before.
        *("so 11, and \\boxed{12", '{"reasoning": "3 * 4 = 12, and then'),
    ],
)
def test_no_part_of_an_expression_is_extracted_as_a_number(text):
    assert extract_number(text) is None
    if "box" not in text and "{" not in text:
        assert extract_number(f"The answer is {text}.") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("(A)", "A"),
        ("The answer is (b).", "B"),
        ("Answer: b", "B"),
        ("b)", "B"),
        ("\\boxed{\\text{(b)}}", "B"),
        ("Antwort: C, denn D passt nicht", "C"),
        ("Die Antwort ist (C).", "C"),
        ("La respuesta es C, no D", "C"),
        ("R\u00e9ponse : C", "C"),
        ("\u7b54\u6848\u662fB\u3002\u4e0d\u662fC\u3002", "B"),
        ("\u7b54\u6848\uff1aB\u9009\u9879", "B"),
        ("\u6b63\u786e\u9009\u9879\u662fB\uff0c\u56e0\u4e3a", "B"),
        ("\u6b63\u89e3\u306fB\u3067\u3059", "B"),
        ("\uff08B\uff09", "B"),
        # Lower case is a word, without an introduction.
        ("(a) is a way, and (b) too", None),
        ("The answer is not A", None),
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
        # A word is no choice.
        ("A good answer.", None),
        ("A good way is to ask.", None),
        ("I would ask.", None),
        ("Answer: A good way is B.", "B"),
        ("The answer, I believe, is C.", "C"),
        ("The answer, I'd say: C", "C"),
        ("The answer, I\u2019d say: C", "C"),
        ("The answer is A because it holds, and B) does not.", "A"),
        ("the answer is a", None),
        # The text after an answer explains it.
        ("The answer is B.\n\nOption C is wrong. (D) is silly.", "B"),
        ("Option C is right, and (D) is silly.", "C"),
        ("The answer is A. No: the answer is B.", "B"),
        ("(D), since P(B) is a half", "D"),
        ("K", None),
        ("", None),
    ],
)
def test_a_letter_is_extracted_from_common_phrases(text, answer):
    assert extract_letter(text) == answer


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
def test_texts_that_differ_in_case_spaces_or_accent_encoding_are_equal(one, other):
    assert normalize_text(one) == normalize_text(other)


@pytest.mark.parametrize(("text", "answer"), [("?!", "?!"), (" \n", None), ("", None)])
def test_punctuation_alone_is_an_answer_and_a_blank_text_is_none(text, answer):
    assert normalize_text(text) == answer


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
def test_a_pattern_extracts_the_first_group_of_its_last_match(pattern, text, answer):
    assert extract_match(compile_pattern(pattern), text) == answer


@pytest.mark.parametrize("name", EXTRACTORS)
@given(text=st.text())
@example(text="\\boxed{" * 9 + "}" * 9)
@example(text="1e999 1/0 00/00 $")
@example(text="\ud800")
def test_any_text_has_a_nonblank_answer_or_none(name, text):
    for told in (text, f"\\boxed{{{text}}}", f"Answer: {text}"):
        answer = EXTRACTORS[name](told)

        assert answer is None or answer.strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("so $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ('{"answer": "\\\\frac{3}{4}"}', "\\frac{3}{4}"),
        ("The answer is $x = 12$, in 3 steps.", "x = 12"),
        ("The final answer is \\(\\sqrt{2}\\).", "\\sqrt{2}"),
        ("The answer is 12 apples.", "12"),
        ("#### 18", "18"),
        ("Hence we have $x = 12$.", "x = 12"),
        ("Hence \\[x = 12\\]", "x = 12"),
        ("$\\frac12$", "\\frac12"),
        ("(x+1)^2", "(x+1)^2"),
        ("even", "even"),
        # Truncated before or in its answer; or without an answer.
        ('{"reasoning": "3 * 4 = 12', None),
        ("so \\boxed{12", None),
        ("We get $x = 12$ and then", None),
        ("The answer is $3$ or $4$.", None),
        ("so 3 times 4 is 12", None),
    ],
)
def test_an_expression_given_as_the_answer_is_extracted(text, told):
    assert extract_expression(text) == told


@given(
    value=st.decimals(allow_nan=False, allow_infinity=False, places=3),
)
def test_normalising_a_number_twice_changes_nothing(value):
    once = extract_number(f"{value:,}")

    assert once is not None
    assert extract_number(once) == once
    assert extract_number(f"{value:f}") == once


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_text_is_processed_quickly(name):
    assert slow(EXTRACTORS[name]) == []


def test_a_match_of_a_pattern_is_normalised_quickly():
    assert slow(lambda text: extract_match(compile_pattern(r"(?s)(.+)"), text)) == []
