"""Removes prompts and keys, which providers quote, from error messages.

It runs on the event loop, so it takes a few milliseconds for any text: each step scans a text once.
If the prompts are too long to compare, the whole message is dropped.
"""

import html
import os
import re
from collections.abc import Iterable

_KEY_PATTERN = re.compile(
    r"\bBearer \S+|\b((sk|rk|pk|gsk|xai|hf|pplx|nvapi)[-_]|AIza|AKIA|eyJ)[\w*.-]{6,}"
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
#: Characters in common that make a quotation of the prompt; and the least length of a prompt, word
#: or key that is worth hiding.
_MIN_QUOTATION, _MIN_WORD = 20, 8
#: Every quotation contains a part of this length that starts at a multiple of the stride.
_PART = _MIN_QUOTATION // 2
_STRIDE = _MIN_QUOTATION - _PART + 1
#: Escapes of non-ASCII characters in JSON, and in Python's bytes. The patterns match a whole run of
#: backslashes possessively: otherwise a long run takes quadratic time.
_UNICODE = re.compile(r"(?<!\\)\\++u([0-9a-fA-F]{4})")
_BYTES = re.compile(r"(?<!\\)(\\++x[0-9a-fA-F]{2}){2,}+")
_BREAKS = re.compile(r"(?<!\\)\\++[nrt]")
#: An HTML character reference with too many digits, which is no character and slow to parse.
_NUMBER = re.compile(r"&#[xX]?0*+[0-9a-fA-F]{9,}+;?")
_WORD = re.compile(r"\w++")
#: Characters: of a message that are scanned, of all prompts, of the longest key, of the result.
_MAX_MESSAGE, _MAX_PROMPTS, _MAX_KEY, _MAX_LINE = 4_000, 200_000, 500, 200


def redact(message: str, prompts: Iterable[str]) -> str:
    """The message as one short line, without text of the prompts and without known keys."""
    texts = list(prompts)
    if sum(map(len, texts)) > _MAX_PROMPTS:
        return "(message dropped: it may quote the long prompt)"
    line = _unescape(message[:_MAX_MESSAGE])
    lower = line.lower()
    plain = [_unescape(text).lower() for text in texts]
    if any(_quotes(lower, prompt) for prompt in plain):
        return "(message dropped: it quotes the prompt)"
    for name, value in os.environ.items():
        if len(value) >= _MIN_WORD and _SECRET_NAME.search(name):
            line = line.replace(value, "[key]")
    line = _KEY_PATTERN.sub("[key]", line)
    if len(message) > _MAX_MESSAGE:
        # A key that is cut off cannot be recognized.
        line = line[:-_MAX_KEY]
    long_words = {word.lower() for word in _WORD.findall(line) if len(word) >= _MIN_WORD}
    prompt_words = {
        word for prompt in plain for word in _WORD.findall(prompt) if word in long_words
    }

    def hide_prompt_word(match: re.Match[str]) -> str:
        return "[...]" if match[0].lower() in prompt_words else match[0]

    return _WORD.sub(hide_prompt_word, line)[:_MAX_LINE]


def _quotes(line: str, prompt: str) -> bool:
    """Whether the line quotes the prompt, or contains all of a short one."""
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
    """The text without JSON, HTML and Python escapes, on one line."""
    if "\\" in text:
        text = _BYTES.sub("[...]", _UNICODE.sub(lambda match: chr(int(match[1], 16)), text))
        text = _BREAKS.sub(" ", text).replace("\\", "")
    if not text.isascii():
        # Combine surrogate pairs.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "&" in text:
        text = html.unescape(_NUMBER.sub("", text))
    return " ".join(text.split())
