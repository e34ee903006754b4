"""Long texts that slow patterns take minutes for."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from archon_batch.archon import ReplyParseError

SIZE = 50_000

#: Repeated parts, endings that break them, and wrappers.
_BITS = (
    *("\n", " ", "\t ", "a\n", "-", "*", "* ", "_", "`", "'", '"', "\\", "{", "}", "[", "(", "#"),
    *("1", "1,", "1,111", ".1", "1.", "1/", "1e", "-1", "$", "+-", "\u0661", "e9"),
    *("A", "A ", "(A", "A.", "I's", "answer ", "answer is ", "option\n:", "answer is\tA  "),
    *("\\boxed{", "\\boxed{}", "\\text{", "\\left", "\\frac", "\\frac1", "^{\\circ}", "{,}"),
    *("[1]", "[1] > ", "[1]\n", "\n[1] x", "\n-", "\n ***", "\n[1]: .", "[1]  "),
    *("[Correct]", "[correct] ", "not ", "not\n[", "Unit Test #1: [Passed]\n", "unit test #"),
    *("```\n", "\n```", '["a",', "[[],", '{"a":', "[1,", '"\\u0000",', "true", "9"),
    *("\u0316\u0301", "\u0301", "\u0f73", "\ufdfa", "\u0130", "\uff9e", "\U0001f600"),
)


def texts() -> Iterator[str]:
    for bit in _BITS:
        text = (bit * (SIZE // len(bit) + 1))[:SIZE]
        yield text
        yield f"```\n[1] A answer {text}x"
        yield f"```json\n{text}\n```"
        yield f"\\boxed{{{text}}}"


def slow(parse: Callable[[str], object]) -> list[str]:
    """The beginnings of the texts for which the reader takes more than a quarter of a second."""
    found = []
    for text in texts():
        begun = time.process_time()
        with suppress(ReplyParseError):
            parse(text)
        if time.process_time() - begun > 0.25:
            found.append(text[:40])
    return found
