"""What of an error's words may be repeated: no prompt and no key, which providers like to quote."""

import html
import os
import re
from collections.abc import Iterable

_KEY = re.compile(r"\bBearer \S+|\b((sk|rk|pk|gsk|xai|hf|pplx|nvapi)[-_]|AIza|AKIA|eyJ)[\w*.-]{6,}")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
#: So many characters in common make words a quotation of the prompt, and what is shorter than the
#: second is neither a prompt, a telling word of one, nor a key that is to be kept from view.
_QUOTATION, _SHORT = 20, 8
#: As JSON, and bytes that are shown as Python's, write what is not ASCII.
_UNICODE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_BYTES = re.compile(r"(\\+x[0-9a-fA-F]{2}){2,}")
_WORD = re.compile(r"\w+")
#: Characters that are looked at, and that are left.
_LOOK, _LONGEST = 4_000, 200


def repeatable(words: str, prompts: Iterable[str]) -> str:
    """The words as one short line, without what they quote of the prompts and of the keys here."""
    line = _plain(words[:_LOOK])
    said: set[str] = set()
    for text in prompts:
        prompt = _plain(text).lower()
        size = min(_QUOTATION, len(prompt))
        ends = range(size, len(line) + 1)
        if size >= _SHORT and any(line[end - size : end].lower() in prompt for end in ends):
            return "(its words quote the prompt)"
        said.update(_WORD.findall(prompt))
    for name, value in os.environ.items():
        if len(value) >= _SHORT and _SECRET.search(name):
            line = line.replace(value, "[key]")
    line = _KEY.sub("[key]", line)

    def unsaid(found: re.Match[str]) -> str:
        word = found[0]
        return "[...]" if len(word) >= _SHORT and word.lower() in said else word

    return _WORD.sub(unsaid, line)[:_LONGEST]


def _plain(text: str) -> str:
    """The text as it was before others wrapped it in JSON, HTML or quotation marks of theirs."""
    text = _BYTES.sub("[...]", _UNICODE.sub(lambda found: chr(int(found[1], 16)), text))
    # Two halves of a pair become the character that they are.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = html.unescape(re.sub(r"\\+[nrt]", " ", text).replace("\\", ""))
    return " ".join(text.split())
