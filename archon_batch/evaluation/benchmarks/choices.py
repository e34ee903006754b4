"""Prompts for multiple-choice questions."""

import string
from collections.abc import Sequence

_TASK = """\
Choose the option that is right. Think it through first, step by step. Then end with a line that \
says "Answer: " and the letter of the option, and nothing else."""

#: Letters that the metric ``choice`` reads.
LETTERS = string.ascii_uppercase[:10]


def multiple_choice_prompt(
    question: str, options: Sequence[str], context: str | None = None
) -> str:
    """The question with its options, lettered from A.

    Raises:
        ValueError: there are fewer than two options, or more options than letters.
    """
    if not 2 <= len(options) <= len(LETTERS):  # noqa: PLR2004
        raise ValueError(f"expected 2 to {len(LETTERS)} options, found {len(options)}")
    listed = "\n".join(
        f"{letter}. {option.strip()}" for letter, option in zip(LETTERS, options, strict=False)
    )
    return "\n\n".join((*([context.strip()] if context else []), question.strip(), listed, _TASK))
