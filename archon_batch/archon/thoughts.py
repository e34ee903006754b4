"""Thoughts that a server left in a reply's text: what a model wrote before its answer.

A server that knows its model hands thoughts out apart from the text. Many do not: their parser is
off, the template has written the opening mark itself, or the model is newer than the server.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

#: The marks, and who writes them.
_PAIRS = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM, MiniMax, Nemotron, Phi-4-reasoning
    ("<thinking>", "</thinking>"),  # models that are tuned to it, or told so by a prompt
    ("<thought>", "</thought>"),  # EXAONE Deep; Gemini's endpoint that speaks like OpenAI's
    ("<reasoning>", "</reasoning>"),  # models trained by the usual recipes of GRPO
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi's thinking models
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
)
_CLOSER = dict(_PAIRS)
_OPENERS = tuple(_CLOSER)
_MARKS = tuple(mark for pair in _PAIRS for mark in pair)
_MARK = re.compile("|".join(map(re.escape, _MARKS)))
#: gpt-oss: each message names its channel, and only one of them is for the reader.
_CHANNELS = ("<|channel|>", "<|start|>assistant<|channel|>", "assistant<|channel|>")
_FINAL = re.compile(r"<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_FINAL_END = re.compile(r"<\|(?:return|end|call|start)\|>")
#: The same where the tokenizer dropped its special tokens.
_BARE, _BARE_FINAL = re.compile(r"\s*analysis(?=[A-Z])"), "assistantfinal"
#: What a fence of code begins with, and what a quotation does.
_FENCE, _QUOTES = ("```", "~~~"), "\"'(`«“\u2018"


class _Mark(NamedTuple):
    word: str
    start: int
    end: int
    #: It stands in a fence, or between backticks.
    in_code: bool


def without_thoughts(text: str) -> str:
    """The text that is left when the model's thoughts are taken out; "" if it never left them.

    A text begins with its thoughts or has none: a mark in the midst of an answer is the answer's.
    Where the template wrote the opening mark, the text has the closing one alone. That one counts
    where it ends or begins a line, or follows upon the words, and never inside code: an answer may
    be about such marks.
    """
    if text.lstrip().startswith(_CHANNELS):
        return _of_channels(text)
    if _BARE.match(text) and _BARE_FINAL in text:
        return text.rpartition(_BARE_FINAL)[2].lstrip()
    # The hot path: ten times as fast as the pattern.
    if not any(mark in text for mark in _MARKS):
        return text
    marks = list(_marks(text))
    start, after = _opened(text, marks)
    if start is None:
        return ""
    end = _lone_end(text, marks[after:])
    start = start if end is None else end
    return text[start:].lstrip() if start else text


def _of_channels(text: str) -> str:
    start = max((found.end() for found in _FINAL.finditer(text)), default=None)
    return "" if start is None else _FINAL_END.split(text[start:], maxsplit=1)[0].strip()


def _opened(text: str, marks: list[_Mark]) -> tuple[int | None, int]:
    """Where the text is after the thoughts that it begins with, and after how many marks.

    None is a text that never left them.
    """
    start = after = 0
    while after < len(marks):
        mark = marks[after]
        if mark.word not in _OPENERS or text[start : mark.start].strip():
            break
        end = _closed(marks, after)
        if end is None:
            return None, after
        start, after = marks[end].end, end + 1
    return start, after


def _closed(marks: list[_Mark], opener: int) -> int | None:
    """Which mark closes this one: the first outside code, since a thought about marks quotes them."""
    closer, quoted = _CLOSER[marks[opener].word], None
    for n in range(opener + 1, len(marks)):
        if marks[n].word == closer:
            if not marks[n].in_code:
                return n
            quoted = n
    return quoted


def _lone_end(text: str, marks: list[_Mark]) -> int | None:
    """Where the last closing mark ends that nothing opened; None if there is none."""
    depths = dict.fromkeys(_CLOSER.values(), 0)
    end = None
    for mark in marks:
        if mark.in_code:
            continue
        if mark.word in _OPENERS:
            depths[_CLOSER[mark.word]] += 1
        elif depths[mark.word]:
            depths[mark.word] -= 1
        elif _fits(text, mark):
            end = mark.end
    return end


def _fits(text: str, mark: _Mark) -> bool:
    """Whether a closing mark stands as a model writes it, and not as a sentence quotes it."""
    before, after = text[max(0, mark.start - 1) : mark.start], text[mark.end : mark.end + 1]
    alone = before in ("", "\n") or after in ("", "\n")
    return alone or not (before.isspace() or before in _QUOTES)


def _marks(text: str) -> Iterator[_Mark]:
    """All marks, each with whether it stands in code."""
    fence, at = "", 0
    for line in text.splitlines(keepends=True):
        bare = line.lstrip()
        if bare.startswith(fence or _FENCE):
            fence = "" if fence else bare[:3]
        else:
            ticks, seen, last = 0, 0, line.rfind("`")
            for found in _MARK.finditer(line):
                ticks += line.count("`", seen, found.start())
                seen = found.start()
                quoted = ticks % 2 == 1 and last > found.end() - 1
                yield _Mark(found[0], at + found.start(), at + found.end(), bool(fence) or quoted)
        at += len(line)
