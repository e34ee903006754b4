"""The program in an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import code_of

PLAIN = st.text(st.characters(exclude_characters="`~\r", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("x = 1", "x = 1"),
        ("\n\n    return x\n\n", "    return x"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1"),
        ("```\nx = 1\n```\nor\n~~~py\nx = 2\n~~~", "x = 2"),
        ("```python\r\nx = 1\r\n```", "x = 1"),
        ("````\n```\nx\n```\n````", "```\nx\n```"),
        ("```python\nx = 1", "x = 1"),
        ("```python\nx = 1\n```\n```", "x = 1"),
        ("```\n\n```", "```\n\n```"),
        ("use `x` here", "use `x` here"),
        ("", ""),
    ],
)
def test_it_is_the_last_block_or_all_of_the_answer(answer, code):
    assert code_of(answer) == code


@given(before=PLAIN, code=PLAIN.filter(str.strip), after=PLAIN)
def test_a_block_is_found_whatever_stands_around_it(before, code, after):
    assert code_of(f"{before}\n```python\n{code}\n```\n{after}") == code_of(code)


@given(st.text())
def test_any_text_has_a_code_that_is_its_own(text):
    code = code_of(text)

    assert code == "" or code.strip()
    assert not code.startswith("\n")
    assert set(code.split("\n")) <= {*text.replace("\r\n", "\n").split("\n"), ""}


@given(PLAIN)
def test_text_without_a_block_loses_only_blank_lines_around_it(text):
    assert code_of(text).strip() == text.strip()
