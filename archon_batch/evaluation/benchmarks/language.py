"""The language of a text by langdetect, the library that IFEval's published program uses."""

import importlib
from functools import cache
from typing import Any

from archon_batch.errors import InputError


def is_in_language(text: str, code: str) -> bool:
    """Whether langdetect takes the text for that language (ISO 639-1, or ``zh-cn``, ``zh-tw``).

    A text without letters counts as every language, as in the published program.

    Raises:
        InputError: langdetect is not installed.
    """
    langdetect = load_langdetect()
    try:
        return bool(langdetect.detect(text) == code)
    except langdetect.LangDetectException:
        return True


@cache
def load_langdetect() -> Any:  # noqa: ANN401  (langdetect has no types)
    """The library, seeded so that it always gives the same answer for the same text.

    Raises:
        InputError: langdetect is not installed.
    """
    try:
        # The first call loads its language profiles, which takes a second.
        langdetect = importlib.import_module("langdetect")
    except ModuleNotFoundError:
        raise InputError("the benchmark ifeval needs: pip install archon-batch[score]") from None
    langdetect.DetectorFactory.seed = 0
    return langdetect
