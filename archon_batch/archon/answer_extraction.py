"""The final answer of a candidate, as it is compared with that of others."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from archon_batch.archon.quantity import Quantity, all_quantities, first_quantity, last_quantity
from archon_batch.archon.timed_regex import TimedPattern

_NUMBER = re.compile(
    # A sign, unless what stands before it makes it a minus or a dash: 10-15 ends with 15.
    r"(?:(?<![\w)\]}%])[-+\u2212])?[$\u20ac\xa3]?"
    # A fraction that is no part of a date, or digits with their thousands, point and power of ten.
    r"(?:(?<![/\d.,])\d{1,9}/\d{1,9}(?!/|\d|[.,]\d)"
    r"|(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)(?:[eE][-+]?\d{1,3}(?!\w))?)"
)
#: Where a text says that its answer comes; the surest sign first.
_STATED_PATTERNS = (
    re.compile(
        r'"(?:final_?)?answer"\s{0,9}:\s{0,9}(?:"((?:[^"\\]|\\.)*+)"|([^"}\n]+))', re.IGNORECASE
    ),
    # Digits without a space, or in groups of three, and a unit; a heading of a list is none.
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
#: The end of a sentence, and not a decimal point.
_END = re.compile(r"[.!?](?:\s|\Z)|;|\u3002")
#: A JSON object that never came to its answer.
_OPEN_JSON = re.compile(r'\s{0,99}(?:```(?:json)?\s{0,9})?\{\s{0,9}"')
#: Mathematics within a sentence.
_TEX = re.compile(
    r"\$\$?([^$]{1,500})\$|\\\(((?:[^\\]|\\(?!\))){1,500}+)\\\)|\\\[((?:[^\\]|\\(?!\])){1,500}+)\\\]"
)
#: Characters of a line that is looked through, and of a text that is nothing but an expression;
#: what no expression has.
_MAX_LINE, _MAX_BARE_EXPRESSION = 2_000, 200
_PROSE = re.compile(r"\n|(?<![\\{A-Za-z])(?!(?:sqrt|sin|cos|tan|log|ln|exp|pi|infty)\b)[A-Za-z]{2}")
_BRACE = re.compile("[{}]")
#: What may stand before an answer, its emphasis and the line break that it follows.
_MARKS_AND_BREAKS = " \t\n\r*_`#"
_TEX_NOISE = re.compile(
    r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,;: ()\[\]]|\\?[$%]"
    r"|\^(?:\\circ(?![A-Za-z])|\{\\circ\})|[~\s]"
)
_TEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}")
_TEX_FRACTION = re.compile(r"([-+]?)\\frac\{(\d{1,9})\}\{(\d{1,9})\}")

# A letter ends before Chinese, Japanese and Korean, which part no words.
_WORD = r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
# "A" and "I" are words too, unless a word follows that goes on about a choice.
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
    # The more a model points at it, the more it is its answer: the last of the first kind found.
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
#: Words before a verdict that turn it round, or leave it open.
_NEGATION = re.compile(
    r"\b(?:not|cannot|never|neither|nor|no|hardly|unlikely|without|fails?|far|wrong|false|than|instead"
    r"|if|unless|whether|were)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
#: Ordering the accents of a word takes time that grows with the square of their number, and no
#: language has so many: longer words are taken in parts.
_WORD_CHUNK = re.compile(r"\s+|\S{1,200}")


def extract_boxed(text: str) -> str | None:
    r"""What the last ``\boxed{...}`` holds, braces within braces and all, without TeX's spacing."""
    inside = _box_contents(text)
    return (_normalize_tex(inside) or None) if inside else None


def _box_contents(text: str) -> str:
    """The last box as it is written; empty when there is none, or it is never closed."""
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
    """Whether the text is a JSON object that was cut off."""
    begun = _OPEN_JSON.match(text)
    return begun is not None and "}" not in text[begun.end() :].rstrip(" \n`")[-1:]


def extract_stated(text: str) -> str | None:
    """What a JSON field named answer holds, as it is written, or what follows ``####``."""
    for pattern in _STATED_PATTERNS:
        if found := pattern.findall(text):
            return (found[-1] if isinstance(found[-1], str) else "".join(found[-1])).strip(" ,")
    return None


def extract_number(text: str) -> str | None:
    """The number that the text says is its answer, else its last.

    An answer is a JSON field of that name, what follows ``####``, what stands between ``<answer>``
    tags, what is boxed, or what "the answer is", in the line below too. Written the shortest way:
    ``1,000.0`` and ``1000`` are one. None when the number is a part of something else: see
    ``quantity``; and when the text was cut off in its answer, or before.
    """
    told = extract_stated(text)
    if told is not None and extract_boxed(told) is None:
        return _quantity_value(last_quantity(told))
    box = extract_boxed(told or text)
    if box is not None:
        found = all_quantities(_after_equals(_box_contents(told or text)))
        return found[0].value if len(found) == 1 and "!" not in box else None
    if text.rfind("\\boxed{") >= 0 or _is_truncated_json(text):
        return None
    sentence = _END.split(_answer_line(text), maxsplit=1)[0]
    if (first := first_quantity(_after_equals(sentence))) is not None:
        return first.value
    return _quantity_value(last_quantity(text))


def extract_expression(text: str) -> str | None:
    r"""What the text says is its answer, in LaTeX or plain; None when it says none.

    What is stated, boxed, or behind "the answer is": an expression between dollars or TeX's
    brackets, or a number. Else what the text ends with between such marks, or all of a text that is
    nothing but an expression.
    """
    told = extract_stated(text)
    if told is not None:
        # What a model writes into JSON is LaTeX with its backslashes doubled, or not.
        told = told.replace("\\\\", "\\")
        return _box_contents(told) or (None if "\\boxed{" in told else told.strip() or None)
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
    """The line that goes on where the text says for the last time that its answer comes."""
    last = max(_ANSWER_INTRO.finditer(text), key=re.Match.end, default=None)
    return text[last.end() :].lstrip(_MARKS_AND_BREAKS).partition("\n")[0] if last else ""


def _quantity_value(found: Quantity | None) -> str | None:
    return found.value if found else None


def _after_equals(text: str) -> str:
    return text.rpartition("=")[2]


def extract_letter(text: str) -> str | None:
    """The letter of a choice, A to J: after "answer" best, else by itself or in brackets."""
    for pattern in _LETTER_PATTERNS:
        last = None
        for last in pattern.finditer(text):  # noqa: B007  (the last one is wanted)
            pass
        if last:
            return "".join(part or "" for part in last.groups()).upper()
    return None


def is_negated(before: str) -> bool:
    """Whether what stands before a verdict on its line says that it is not that."""
    return _NEGATION.search(before) is not None


def normalize_text(text: str) -> str | None:
    """The text without regard to case, spacing, accents' spelling, and marks at its ends."""
    parts = _WORD_CHUNK.findall(text)
    folded = "".join(unicodedata.normalize("NFKC", part) for part in parts).casefold()
    joined = " ".join(folded.split())
    # Marks only are an answer too, when there is nothing else.
    return joined.strip(" .,:;!?\"'`*_()[]{}") or joined or None


def extract_match(pattern: TimedPattern, text: str) -> str | None:
    """The last match of the pattern: of its first group if it has one, else of all of it.

    Raises:
        PatternError: it took too long.
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
    told = _TEX_NOISE.sub("", _TEX_TEXT.sub(r"\1", tex)).replace("{,}", ",").rstrip(".")
    told = re.sub(r"\\[dt]frac", r"\\frac", told)
    told = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", told)
    told = _TEX_FRACTION.sub(r"\1\2/\3", told) if _TEX_FRACTION.fullmatch(told) else told
    return _normalize_number(told) if _NUMBER.fullmatch(told) else told


def _normalize_number(number_text: str) -> str:
    bare = re.sub(r"[,$\u20ac\xa3]", "", number_text).replace("\u2212", "-")
    if "/" in bare:
        above, below = map(int, bare.split("/"))
        return str(Fraction(above, below)) if below else bare
    # As it stands, without an exponent; a zero has no sign.
    text = f"{Decimal(bare):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text.removeprefix("+")
