"""Extracts and normalises the final answer of a text, to compare answers."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction

from archon_batch.archon.numerals import format_decimal
from archon_batch.archon.quantity import Quantity, all_quantities, first_quantity, last_quantity
from archon_batch.archon.timed_regex import TimedPattern

_NUMBER = re.compile(
    # A sign, unless it follows an operand: 10-15 ends with 15.
    r"(?:(?<![\w)\]}%])[-+\u2212])?[$\u20ac\xa3]?"
    # A fraction that is not part of a date; or digits with separators, point and power of ten.
    r"(?:(?<![/\d.,])\d{1,9}/\d{1,9}(?!/|\d|[.,]\d)"
    r"|(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)(?:[eE][-+]?\d{1,3}(?!\w))?)"
)
#: Marks of a final answer, the most reliable first.
_STATED_PATTERNS = (
    re.compile(
        r'"(?:final_?)?answer"\s{0,9}:\s{0,9}(?:"((?:[^"\\]|\\.)*+)"|([^"}\n]+))', re.IGNORECASE
    ),
    # Digits without a space, or in groups of three, and a unit; not the heading of a list.
    re.compile(
        r"^####[ \t]{0,9}([^\s\d]{0,9}+\d[^\s]{0,400}+(?: \d{3}(?!\d)){0,9}+(?:(?<![.:)]) [^\W\d]{1,20}+)?)"
        r"[ \t]{0,99}+$",
        re.MULTILINE,
    ),
    re.compile(r"<answer>([^<]{1,2000})</answer>", re.IGNORECASE),
)
_ANSWER = (
    r"(?:\b(?:answer|antwort|respuesta|r\u00e9ponse|risposta|resposta|antwoord)"
    r"|\u7b54\u6848|\u7b54\u3048|\u6b63\u89e3|\uc815\ub2f5|\ub2f5|\b\u043e\u0442\u0432\u0435\u0442)"
)
_IS = r"(?:(?:is|be|ist|lautet|es|est|\u00e8|\u00e9)(?!\w)|[:=\uff1a]|\u662f|\u4e3a|\u70ba|\u306f|\ub294|\uc740)"
_ANSWER_INTRO = re.compile(
    rf"{_ANSWER}(?:[^\w\n]{{0,9}}{_IS}|[^\w\n]{{0,9}}\n)(?!\s{{0,9}}(?:not|never|neither)\b)",
    re.IGNORECASE,
)
#: The end of a sentence, but not a decimal point.
_END = re.compile(r"[.!?](?:\s|\Z)|;|\u3002")
#: The beginning of a JSON object.
_OPEN_JSON = re.compile(r'\s{0,99}(?:```(?:json)?\s{0,9})?\{\s{0,9}"')
#: TeX in a sentence.
_TEX = re.compile(
    r"\$\$?([^$]{1,500})\$|\\\(((?:[^\\]|\\(?!\))){1,500}+)\\\)|\\\[((?:[^\\]|\\(?!\])){1,500}+)\\\]"
)
#: In characters: the part of a line to search, and the longest text that may be one expression.
_MAX_LINE, _MAX_BARE_EXPRESSION = 2_000, 200
_PROSE = re.compile(r"\n|(?<![\\{A-Za-z])(?!(?:sqrt|sin|cos|tan|log|ln|exp|pi|infty)\b)[A-Za-z]{2}")
_BRACE = re.compile("[{}]")
#: Characters before an answer: emphasis, and the line break after its introduction.
_MARKS_AND_BREAKS = " \t\n\r*_`#"
_TEX_NOISE = re.compile(
    r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,;: ()\[\]]|\\?[$%]"
    r"|\^(?:\\circ(?![A-Za-z])|\{\\circ\})|[~\s]"
)
_TEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}")
_TEX_FRACTION = re.compile(r"([-+]?)\\frac\{(\d{1,9})\}\{(\d{1,9})\}")

# Chinese, Japanese and Korean do not separate words, so their characters end a letter.
_WORD = r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
# "A" and "I" are words too, unless the next word continues a sentence about a choice.
_CHOICE = (
    r"(?![AI]\s+(?!(?:and|as|because|but|by|due|for|from|given|in|is|since|which|with)\b)[a-z])"
    rf"([A-J])(?!{_WORD}|['\u2019])"
)
_THEN = (
    r"(?:[\W\u662f\u4e3a\u70ba\u9009\u9078\u9879\u306f\ub294\uc740]{0,12}"
    r"(?i:(?:is|be|ist|lautet|es|est|\u00e8|\u00e9)\W{1,12})?)"
)
_OPTION = r"(?i:option|choice|opci\u00f3n|\u9009\u9879|\u9078\u9805)"
_OPEN, _CLOSE = r"[(\[\uff08]", r"[)\]\uff09]"
_LETTER_PATTERNS = (
    # The most explicit pattern first; of its matches, the last.
    re.compile(
        rf"(?i:{_ANSWER})(?:{_THEN}{_CHOICE}|{_THEN}{_OPEN}([a-j]){_CLOSE}"
        r"|\W{0,8}[:\uff1a]\W{0,8}([a-j])[ \t*.]{0,9}$)",
        re.MULTILINE,
    ),
    re.compile(rf"{_OPTION}{_THEN}{_CHOICE}"),
    re.compile(r"\A\W{0,8}([A-Ja-j])\W{0,8}\Z"),
    re.compile(r"\\boxed\{(?:\\text\{)?\(?([a-j])\)?\}"),
    re.compile(rf"(?:(?<!{_WORD})(?:{_OPEN}|[*_])|\{{)([A-J])[.:]?(?:{_CLOSE}|[*_}}])"),
    re.compile(
        rf"(?<!not )(?<!n't )(?<!{_WORD})([A-J])(?=[.):\uff1a\u3002\u3001](?:\s|\Z|[^\x00-\x7f])|\s*\Z)"
    ),
)
#: Words before a verdict that negate it, or leave it open.
_NEGATION = re.compile(
    r"\b(?:not|cannot|never|neither|nor|no|hardly|unlikely|without|fails?|far|wrong|false|than|instead"
    r"|if|unless|whether|were)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
#: Normalising the accents of a word takes quadratic time, so longer words are split. No language
#: has so many accents.
_WORD_CHUNK = re.compile(r"\s+|\S{1,200}")


def extract_boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}``, with nested braces, without TeX spacing."""
    inside = _box_contents(text)
    return (_normalize_tex(inside) or None) if inside else None


def _box_contents(text: str) -> str:
    """The content of the last box as written; empty if there is none, or it is never closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return ""
    depth, begin = 0, start + len("\\boxed{")
    for brace in _BRACE.finditer(text, begin):
        if brace.group() == "{":
            depth += 1
        elif depth == 0:
            return text[begin : brace.start()]
        else:
            depth -= 1
    return ""


def _is_truncated_json(text: str) -> bool:
    """Whether the text is a truncated JSON object."""
    begun = _OPEN_JSON.match(text)
    return begun is not None and "}" not in text[begun.end() :].rstrip(" \n`")[-1:]


def extract_stated(text: str) -> str | None:
    """The answer after an explicit mark: a JSON field ``answer``, ``####``, or ``<answer>`` tags."""
    for pattern in _STATED_PATTERNS:
        if found := pattern.findall(text):
            return (found[-1] if isinstance(found[-1], str) else "".join(found[-1])).strip(" ,")
    return None


def extract_number(text: str) -> str | None:
    """The number that the text gives as its answer, or else its last number.

    An answer is a JSON field ``answer``, the text after ``####``, in ``<answer>`` tags or in a box, or
    the text after words such as "the answer is", also on the next line. It is normalised:
    ``1,000.0`` and ``1000`` become equal. None if the number is part of an expression (see
    ``quantity``), or if the text is truncated in or before its answer.
    """
    stated = extract_stated(text)
    if stated is not None and extract_boxed(stated) is None:
        return _quantity_value(last_quantity(stated))
    box = extract_boxed(stated or text)
    if box is not None:
        found = all_quantities(_after_equals(_box_contents(stated or text)))
        return found[0].value if len(found) == 1 and "!" not in box else None
    if text.rfind("\\boxed{") >= 0 or _is_truncated_json(text):
        return None
    sentence = _END.split(_answer_line(text), maxsplit=1)[0]
    if (first := first_quantity(_after_equals(sentence))) is not None:
        return first.value
    return _quantity_value(last_quantity(text))


def extract_expression(text: str) -> str | None:
    r"""The expression that the text gives as its answer, in LaTeX or plain; None if there is none.

    It is marked explicitly, boxed, or follows words such as "the answer is" (as TeX or a number).
    Otherwise it is the TeX at the end of the text, or the whole text if it is one expression.
    """
    stated = extract_stated(text)
    if stated is not None:
        # In JSON, models double the backslashes of LaTeX, or do not.
        stated = stated.replace("\\\\", "\\")
        return _box_contents(stated) or (None if "\\boxed{" in stated else stated.strip() or None)
    if "\\boxed{" in text:
        return _box_contents(text) or None
    if _is_truncated_json(text):
        return None
    if line := _answer_line(text):
        sentence = _END.split(line[:_MAX_LINE], maxsplit=1)[0]
        if maths := _TEX.findall(sentence):
            return "".join(maths[0]) if len(maths) == 1 else None
        return _quantity_value(first_quantity(_after_equals(sentence)))
    bare = text.strip()
    if bare.isalpha() or (len(bare) <= _MAX_BARE_EXPRESSION and not _PROSE.search(bare)):
        return bare.strip("$") or None
    tail = bare[-_MAX_LINE:].rstrip(" .!*")
    ends = [one for one in _TEX.finditer(tail) if one.end() == len(tail)]
    return "".join(part or "" for part in ends[0].groups()) if ends else None


def _answer_line(text: str) -> str:
    """The rest of the line after the last words that introduce an answer."""
    last = max(_ANSWER_INTRO.finditer(text), key=re.Match.end, default=None)
    return text[last.end() :].lstrip(_MARKS_AND_BREAKS).partition("\n")[0] if last else ""


def _quantity_value(quantity: Quantity | None) -> str | None:
    return quantity.value if quantity else None


def _after_equals(text: str) -> str:
    return text.rpartition("=")[2]


def extract_letter(text: str) -> str | None:
    """The letter of a choice, A to J: after "answer", or else alone or in brackets."""
    for pattern in _LETTER_PATTERNS:
        last = None
        for last in pattern.finditer(text):  # noqa: B007  (to find the last match)
            pass
        if last:
            return "".join(part or "" for part in last.groups()).upper()
    return None


def is_negated(before: str) -> bool:
    """Whether the text before a verdict, on the same line, negates it."""
    return _NEGATION.search(before) is not None


def normalize_text(text: str) -> str | None:
    """The text with normalised case, spaces and accents, without punctuation at its ends."""
    parts = _WORD_CHUNK.findall(text)
    folded = "".join(unicodedata.normalize("NFKC", part) for part in parts).casefold()
    joined = " ".join(folded.split())
    # Punctuation is an answer if there is nothing else.
    return joined.strip(" .,:;!?\"'`*_()[]{}") or joined or None


def extract_match(pattern: TimedPattern, text: str) -> str | None:
    """The normalised last match of the pattern: its first group if it has groups.

    Raises:
        PatternError: the search took too long.
    """
    found = pattern.last_match(text)
    return None if found is None else normalize_text(found)


EXTRACTORS: Mapping[str, Callable[[str], str | None]] = {
    "boxed": extract_boxed,
    "number": extract_number,
    "letter": extract_letter,
    "text": normalize_text,
}


def _normalize_tex(tex: str) -> str:
    stated = _TEX_NOISE.sub("", _TEX_TEXT.sub(r"\1", tex)).replace("{,}", ",").rstrip(".")
    stated = re.sub(r"\\[dt]frac", r"\\frac", stated)
    stated = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", stated)
    stated = _TEX_FRACTION.sub(r"\1\2/\3", stated) if _TEX_FRACTION.fullmatch(stated) else stated
    return _normalize_number(stated) if _NUMBER.fullmatch(stated) else stated


def _normalize_number(number_text: str) -> str:
    bare = re.sub(r"[,$\u20ac\xa3]", "", number_text).replace("\u2212", "-")
    if "/" in bare:
        above, below = map(int, bare.split("/"))
        return str(Fraction(above, below)) if below else bare
    return format_decimal(bare)
