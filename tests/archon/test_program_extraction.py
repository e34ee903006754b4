"""The program in an answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import called_names, extract_program

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
def test_the_program_is_the_last_block_or_the_whole_answer(answer, code):
    assert extract_program(answer) == code


@given(before=PLAIN, code=PLAIN.filter(str.strip), after=PLAIN)
def test_a_block_is_found_in_any_text_around_it(before, code, after):
    assert extract_program(f"{before}\n```python\n{code}\n```\n{after}") == extract_program(code)


@given(st.text())
def test_the_program_of_any_text_is_part_of_it(text):
    code = extract_program(text)

    assert code == "" or code.strip()
    assert not code.startswith("\n")
    assert all(line in text.replace("\r\n", "\n") for line in code.split("\n"))


@given(PLAIN)
def test_text_without_a_block_loses_only_blank_lines_around_it(text):
    assert extract_program(text).strip() == text.strip()


ADD = "def add(a, b):\n    return a + b"
PROGRAM = f"```python\n{ADD}\n```"


def indented(text, by="   "):
    return "\n".join(by + line for line in text.split("\n"))


@pytest.mark.parametrize(
    "answer",
    [
        PROGRAM,
        f"{PROGRAM}\nExample:\n```python\nprint(add(1, 2))\n```",
        f"{PROGRAM}\nOutput:\n```\n3\n```",
        f"{PROGRAM}\nOutput:\n```output\n3\n```",
        f"{PROGRAM}\nRun it:\n```bash\npython add.py\n```",
        f"{PROGRAM}\nRun it:\n```console\n$ python add.py\n```",
        f"{PROGRAM}\nIt gives:\n```json\n{{}}\n```",
        f"{PROGRAM}\nTests:\n```python\nassert add(1, 2) == 3\n```",
        f"{PROGRAM}\nTests:\n```python\nfrom add import add\nassert add(1, 2) == 3\n```",
        f"{PROGRAM}\n```pycon\n>>> add(1, 2)\n3\n```",
        f"{PROGRAM}\n```python\n>>> add(1, 2)\n3\n```",
        # Signatures and restated tasks are no programs.
        f"{PROGRAM}\nIts head is\n```python\ndef add(a, b):\n```",
        f"{PROGRAM}\nas in\n```python\ndef add(a, b):\n    ...\n```",
        f'You ask for\n```python\ndef add(a, b):\n    """Add them."""\n```\n{PROGRAM}',
        f'{PROGRAM}\nfor\n```python\ndef add(\n    a: int,\n    b: int,\n) -> int:\n    """Add."""\n```',
        # The later of two, but a complete one before a truncated one.
        f"First try:\n```python\ndef add(a, b):\n    return a - b\n```\nBetter:\n{PROGRAM}",
        f"{PROGRAM}\nWith types:\n```python\ndef add(a: int, b: int) -> int:\n    if",
        # Fences of CommonMark, and fences as models write them.
        f"1. Code:\n{indented(PROGRAM)}",
        f"10. Code:\n{indented(PROGRAM, chr(9))}",
        f"- {indented(PROGRAM, '  ').lstrip()}",
        f"1. Code:\n   ```python\n{ADD}\n   ```",
        f"> {PROGRAM}".replace("\n", "\n> "),
        f"````markdown\nText\n````\n~~~~py\n{ADD}\n~~~~\n",
        f"```python\n{indented(ADD, '    ')}\n```",
        f"```Python3 title=add.py\n{ADD}\n```",
        f"```{{.python #add}}\n{ADD}\n```",
        f"```python:src/add.py\n{ADD}\n```",
        f"``` py\n{ADD}\n`````",
        f"```\n{ADD}\n```\nand\n```\n3\n```",
        f"```solution\n{ADD}\n```",
        f"```python\n{ADD}",
        f"```python\nprint(1)\n```python\n{ADD}\n```",
        f"```python\n{ADD}```\nIt adds them.",
        f"{PROGRAM}\nas\n```python\nclass Sum:\n    def add(a, b):\n```\n",
        PROGRAM.replace("\n", "\r\n"),
        # No fence, or one that only closes a block opened by the prompt.
        ADD,
        f"{ADD}\n```\nIt adds them:\n```\n3\n```",
        f"Here is the function:\n\n{ADD}\n\nIt adds them.",
    ],
)
def test_the_program_is_the_block_that_defines_the_given_names(answer):
    assert extract_program(answer, ["add"]) == ADD


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def helper(a, b):\n    return a + b", "def add(a, b):\n    return helper(a, b)"),
        ("import operator", "def add(a, b):\n    return operator.add(a, b)"),
        ("from operator import add as plus", "def add(a, b):\n    return plus(a, b)"),
        ("LIMIT = 9", "def add(a, b):\n    return min(a + b, LIMIT)"),
        ("def add(a, b):\n    return Sum(a, b).of", "class Sum:\n    of = 0"),
        ("def add(a, b):\n    return a + b", "def less(a, b):\n    return a - b"),
    ],
)
def test_blocks_that_define_used_names_are_included(first, second):
    answer = f"```python\n{first}\n```\nThen:\n```python\n{second}\n```\n```python\nadd(1, 2)\n```"

    assert extract_program(answer, ["add", "less"]) == f"{first}\n{second}"


def test_assignments_of_an_example_are_not_included():
    answer = f"{PROGRAM}\n```python\na = int(input())\nprint(add(a, 2))\n```"

    assert extract_program(answer, ["add"]) == ADD


def test_a_class_with_empty_methods_ranks_as_a_signature():
    head = "class Sum:\n    def add(self, a, b):\n        # to do"
    whole = "class Sum:\n    def add(self, a, b):\n        return a + b"
    error = "class Odd(ValueError):\n    pass"

    for answer in (f"{head}\n```\n```python\n{whole}", f"{whole}\n```\n```python\n{head}"):
        assert extract_program(f"```python\n{answer}\n```", ["Sum"]) == whole
    assert extract_program(f"```\n{error}\n```\n```\nraise Odd\n```", ["Odd"]) == error


def test_a_fence_within_a_string_of_the_program_does_not_end_it():
    program = 'def add(a, b):\n    """\n    ```\n    add(1, 2)\n    ```\n    """\n    return a + b'

    assert extract_program(f"```python\n{program}\n```", ["add"]) == program


def test_a_script_is_the_last_block_of_python_with_what_it_uses():
    answer = (
        "```python\ndef solve():\n    print(1)\n```\nThen run it:\n```python\nsolve()\n```\n"
        "Output:\n```\n1\n```"
    )

    assert extract_program(answer) == "def solve():\n    print(1)\nsolve()"


def test_the_body_of_a_function_keeps_its_indentation():
    assert extract_program("```python\n    return a + b\n```", ["add"]) == "    return a + b"
    assert extract_program("    return a + b\n\ndef add2():\n    pass", ["add"]).startswith(
        "    return"
    )


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        (["assert f(g(1)) == {2}"], {"f", "g"}),
        (["assert Node(3).sum() == 3"], {"Node"}),
        (["assert (f (1)) == 1 and not (1)"], {"f"}),
        (["def check(c):\n    assert f(1)\ncheck(f)"], {"f"}),
        ([], set()),
    ],
)
def test_the_names_that_tests_call_are_found(tests, names):
    assert called_names(tests) == names


@pytest.mark.parametrize(
    "text",
    [
        "```\n" * 250_000,
        "```python\n" * 100_000,
        "> " * 500_000 + "```",
        ">" * 1_000_000 + "```",
        " " * 1_000_000 + "```",
        "- " * 500_000 + "```",
        "```python\n" + "def f(x):\n" * 100_000,
        "```python\n" + "def f(\n" * 100_000,
        "".join(f"```py\ndef f{i}():\n return f{i + 1}()\n```\n" for i in range(25_000)),
        "```py\n" + "f(" * 500_000,
        "```py\ndef f():\n" + '"""' * 300_000,
        "a,b" * 300_000 + "\ndef f():\n    return 1",
        "~" * 1_000_000,
        "\n" * 1_000_000,
    ],
    ids=range(14),
)
def test_a_text_of_a_megabyte_takes_linear_time(text):
    begun = time.process_time()

    extract_program(text, ["f", "f0"])
    called_names([text])

    # Quadratic time would be minutes.
    assert time.process_time() - begun < 15
