"""Strips reasoning that a model, or its server, left in the text of a reply."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_REASONING_TAG = r"(?:[A-Za-z]{1,12}:)?(?:think|thinking|thoughts?|reasoning)"


@dataclass(frozen=True, slots=True)
class _TagPair:
    #: Patterns of the tags around reasoning.
    opening: str
    closing: str
    #: Whether an opening tag alone means reasoning; plain words may belong to the answer.
    unambiguous: bool = True


#: From chat templates, and the parsers of vLLM, SGLang and llama.cpp.
_TAG_PAIRS = (
    # DeepSeek-R1, Qwen, GLM, MiniMax, Nemotron, Phi-4; EXAONE Deep (thought); Seed-OSS (seed:think)
    _TagPair(rf"(?i:<{_REASONING_TAG}>)", rf"(?i:</{_REASONING_TAG}>)"),
    _TagPair(r"\[THINK\]", r"\[/THINK\]"),  # Magistral, Ministral
    _TagPair("◁think▷", "◁/think▷"),  # Kimi
    _TagPair(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    _TagPair(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThoughts, Sky-T1
    _TagPair(r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    _TagPair(r"<\|channel>thought\b", r"<channel\|>"),  # Gemma 4
    # gpt-oss: every channel but the final one, with and without special tokens.
    _TagPair(
        r"(?:<\|start\|>assistant)?<\|channel\|>(?!final)",
        r"<\|channel\|>final\s{0,3}(?:<\|constrain\|>\s{0,3}\w{1,20}\s{0,3})?<\|message\|>",
    ),
    _TagPair(r"analysis(?=[A-Z\"'])", r"assistantfinal", unambiguous=False),
    _TagPair(  # Granite 3.2
        r"(?:Here is|Here's) my thought process:",
        r"(?:Here is|Here's) my response:",
        unambiguous=False,
    ),
)
_OPENING = re.compile("|".join(f"({marks.opening})" for marks in _TAG_PAIRS))
_CLOSING = tuple(re.compile(marks.closing) for marks in _TAG_PAIRS)
_UNAMBIGUOUS_OPENING = re.compile(
    "|".join(marks.opening for marks in _TAG_PAIRS if marks.unambiguous)
)
_UNAMBIGUOUS_CLOSING = re.compile(
    "|".join(marks.closing for marks in _TAG_PAIRS if marks.unambiguous)
)
#: Tags that the same templates put around the answer.
_ANSWER_WRAPPERS = re.compile(
    r"\A\s*(?:<\|START_RESPONSE\|>|<\|begin_of_solution\|>)"
    r"|(?:<\|END_RESPONSE\|>|<\|end_of_solution\|>|<\|return\|>|<\|end\|>)\s{0,9}\Z"
)
_FENCE = re.compile(r"(`{3,}|~{3,})([^`]*)")
_TICKS = re.compile("`+")
_QUOTES = frozenset("\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb")
#: The longest word between two tags that the text only mentions.
_MAX_NAMED_WORD = 20


def strip_reasoning(text: str) -> str | None:
    """The text after the reasoning; None if the reasoning never ends.

    Reasoning is at the beginning, up to the last closing tag. The opening tag may be missing, since
    many templates put it into the prompt. A tag in Markdown code or in quotation marks, or a pair
    with one word between in the middle of a line, is only mentioned and ends nothing. A text
    without reasoning is returned unchanged. The time is linear in the length of the text.
    """
    head = len(text) - len(text.lstrip())
    opened = _OPENING.match(text, head)
    begin = 0
    if opened:
        marks = opened.lastindex or 1
        # The first tag ends the reasoning even in code: reasoning often leaves a code block open.
        first = _CLOSING[marks - 1].search(text, opened.end())
        if first is None:
            return None if _TAG_PAIRS[marks - 1].unambiguous else text
        begin = first.end()
    for end in _closing_ends(text, begin):
        begin = end
    if begin == 0:
        return text
    answer = _ANSWER_WRAPPERS.sub("", text[begin:]).strip()
    return None if not answer or _UNAMBIGUOUS_OPENING.match(answer) else answer


def _closing_ends(text: str, begin: int) -> Iterator[int]:
    """The ends of closing tags after ``begin`` that are not only mentioned, in order."""
    if not _UNAMBIGUOUS_CLOSING.search(text, begin):
        return
    fence, inside = "", list[int]()
    for line in text[begin:].splitlines(keepends=True):
        bare = line.strip()
        if mark := _FENCE.fullmatch(bare):
            closes = mark[1].startswith(fence) and not mark[2].strip()
            if fence and not closes:
                # This opens another block: the block before belongs to the reasoning, and was never closed.
                yield from inside
            fence, inside = "" if fence and closes else mark[1], []
        elif fence:
            inside += (begin + closing.end() for closing in _UNAMBIGUOUS_CLOSING.finditer(line))
        else:
            yield from (begin + end for end in _closing_ends_in_line(line))
        begin += len(line)
    yield from inside


def _closing_ends_in_line(line: str) -> Iterator[int]:
    closings = list(_UNAMBIGUOUS_CLOSING.finditer(line))
    if not closings:
        return
    code, openings = _code_spans(line), list(_UNAMBIGUOUS_OPENING.finditer(line))
    first, last = len(line) - len(line.lstrip()), len(line.rstrip())
    at = before = 0
    for close in closings:
        while at < len(code) and code[at][1] <= close.start():
            at += 1
        while before < len(openings) and openings[before].end() <= close.start():
            before += 1
        start, end = close.span()
        in_code = at < len(code) and code[at][0] < start
        quoted = start > 0 and end < len(line) and {line[start - 1], line[end]} <= _QUOTES
        # For example: between <think> and </think> there is ...
        named = before > 0 and first < openings[before - 1].start() and end < last
        if named:
            between = line[max(openings[before - 1].end(), start - _MAX_NAMED_WORD - 1) : start]
            named = len(between) <= _MAX_NAMED_WORD and len(between.split()) <= 1
        if not (in_code or quoted or named):
            yield end


def _code_spans(line: str) -> list[tuple[int, int]]:
    """The spans of inline code: from a run of backticks to the next run of the same length."""
    runs = list(_TICKS.finditer(line))
    following, last = list[int | None](), dict[int, int]()
    for index in range(len(runs) - 1, -1, -1):
        length = len(runs[index].group())
        following.append(last.get(length))
        last[length] = index
    following.reverse()
    spans, index = [], 0
    while index < len(runs):
        closing = following[index]
        if closing is not None:
            spans.append((runs[index].end(), runs[closing].start() + 1))
        index = index + 1 if closing is None else closing + 1
    return spans
