"""What of an error's words may be repeated: no prompt and no key, which providers like to quote.

It runs on the event loop, so it takes a few milliseconds whatever the texts are: each step goes
over a text once, and of a prompt that is too long for that nothing is compared and nothing told.
"""

import html
import os
import re
from collections.abc import Iterable

_KEY_PATTERN = re.compile(
    r"\bBearer \S+|\b((sk|rk|pk|gsk|xai|hf|pplx|nvapi)[-_]|AIza|AKIA|eyJ)[\w*.-]{6,}"
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
#: So many characters in common make words a quotation of the prompt, and what is shorter than the
#: second is neither a prompt, a telling word of one, nor a key that is to be kept from view.
_MIN_QUOTATION, _MIN_WORD = 20, 8
#: Every quotation of a prompt has a part of this length that begins at a multiple of the next.
_PART = _MIN_QUOTATION // 2
_STRIDE = _MIN_QUOTATION - _PART + 1
#: As JSON, and bytes that are shown as Python's, write what is not ASCII. They begin where a run of
#: backslashes does, and give none of it back: else a long run is gone over for each of its own.
_UNICODE = re.compile(r"(?<!\\)\\++u([0-9a-fA-F]{4})")
_BYTES = re.compile(r"(?<!\\)(\\++x[0-9a-fA-F]{2}){2,}+")
_BREAKS = re.compile(r"(?<!\\)\\++[nrt]")
#: A number in HTML; one of more digits is no character's, and costs too much to read.
_NUMBER = re.compile(r"&#[xX]?0*+[0-9a-fA-F]{9,}+;?")
_WORD = re.compile(r"\w++")
#: Characters that are looked at, of words and of all prompts together; that a key may have; and
#: that are left.
_MAX_MESSAGE, _MAX_PROMPTS, _MAX_KEY, _MAX_LINE = 4_000, 200_000, 500, 200


def redact(message: str, prompts: Iterable[str]) -> str:
    """The words as one short line, without what they quote of the prompts and of the keys here."""
    texts = list(prompts)
    if sum(map(len, texts)) > _MAX_PROMPTS:
        return "(its words are not told: they may quote the prompt, which is long)"
    line = _unescape(message[:_MAX_MESSAGE])
    lower = line.lower()
    plain = [_unescape(text).lower() for text in texts]
    if any(_quotes(lower, prompt) for prompt in plain):
        return "(its words quote the prompt)"
    for name, value in os.environ.items():
        if len(value) >= _MIN_WORD and _SECRET_NAME.search(name):
            line = line.replace(value, "[key]")
    line = _KEY_PATTERN.sub("[key]", line)
    if len(message) > _MAX_MESSAGE:
        # A key that was cut is not known for one.
        line = line[:-_MAX_KEY]
    long = {word.lower() for word in _WORD.findall(line) if len(word) >= _MIN_WORD}
    said = {word for prompt in plain for word in _WORD.findall(prompt) if word in long}

    def unsaid(found: re.Match[str]) -> str:
        return "[...]" if found[0].lower() in said else found[0]

    return _WORD.sub(unsaid, line)[:_MAX_LINE]


def _quotes(line: str, prompt: str) -> bool:
    """Whether the line has a quotation of the prompt in it, or the whole of a short one."""
    if len(prompt) < _MIN_QUOTATION:
        return len(prompt) >= _MIN_WORD and prompt in line
    parts = _substrings(line, _PART)
    whole = _substrings(line, _MIN_QUOTATION)
    for at in range(0, len(prompt) - _PART + 1, _STRIDE):
        if prompt[at : at + _PART] in parts and not whole.isdisjoint(
            _substrings(prompt[max(0, at - _PART) : at + _MIN_QUOTATION], _MIN_QUOTATION)
        ):
            return True
    return False


def _substrings(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def _unescape(text: str) -> str:
    """The text as it was before others wrapped it in JSON, HTML or quotation marks of theirs."""
    if "\\" in text:
        text = _BYTES.sub("[...]", _UNICODE.sub(lambda found: chr(int(found[1], 16)), text))
        text = _BREAKS.sub(" ", text).replace("\\", "")
    if not text.isascii():
        # Two halves of a pair become the character that they are.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "&" in text:
        text = html.unescape(_NUMBER.sub("", text))
    return " ".join(text.split())
