"""What of an error's words may be repeated: no prompt and no key, which providers like to quote.

It runs on the event loop, so it takes a few milliseconds whatever the texts are: each step goes
over a text once, and of a prompt that is too long for that nothing is compared and nothing told.
"""

import html
import os
import re
from collections.abc import Iterable

_KEY = re.compile(r"\bBearer \S+|\b((sk|rk|pk|gsk|xai|hf|pplx|nvapi)[-_]|AIza|AKIA|eyJ)[\w*.-]{6,}")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
#: So many characters in common make words a quotation of the prompt, and what is shorter than the
#: second is neither a prompt, a telling word of one, nor a key that is to be kept from view.
_QUOTATION, _SHORT = 20, 8
#: Every quotation of a prompt has a part of this length that begins at a multiple of the next.
_PART = _QUOTATION // 2
_STRIDE = _QUOTATION - _PART + 1
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
_LOOK, _LOOK_AT_PROMPTS, _LONGEST_KEY, _LONGEST = 4_000, 200_000, 500, 200


def repeatable(words: str, prompts: Iterable[str]) -> str:
    """The words as one short line, without what they quote of the prompts and of the keys here."""
    texts = list(prompts)
    if sum(map(len, texts)) > _LOOK_AT_PROMPTS:
        return "(its words are not told: they may quote the prompt, which is long)"
    line = _plain(words[:_LOOK])
    lower = line.lower()
    plain = [_plain(text).lower() for text in texts]
    if any(_quotes(lower, prompt) for prompt in plain):
        return "(its words quote the prompt)"
    for name, value in os.environ.items():
        if len(value) >= _SHORT and _SECRET.search(name):
            line = line.replace(value, "[key]")
    line = _KEY.sub("[key]", line)
    if len(words) > _LOOK:
        # A key that was cut is not known for one.
        line = line[:-_LONGEST_KEY]
    long = {word.lower() for word in _WORD.findall(line) if len(word) >= _SHORT}
    said = {word for prompt in plain for word in _WORD.findall(prompt) if word in long}

    def unsaid(found: re.Match[str]) -> str:
        return "[...]" if found[0].lower() in said else found[0]

    return _WORD.sub(unsaid, line)[:_LONGEST]


def _quotes(line: str, prompt: str) -> bool:
    """Whether the line has a quotation of the prompt in it, or the whole of a short one."""
    if len(prompt) < _QUOTATION:
        return len(prompt) >= _SHORT and prompt in line
    parts = _pieces(line, _PART)
    whole = _pieces(line, _QUOTATION)
    for at in range(0, len(prompt) - _PART + 1, _STRIDE):
        if prompt[at : at + _PART] in parts and not whole.isdisjoint(
            _pieces(prompt[max(0, at - _PART) : at + _QUOTATION], _QUOTATION)
        ):
            return True
    return False


def _pieces(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def _plain(text: str) -> str:
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
