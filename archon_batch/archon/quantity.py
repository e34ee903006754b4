"""The value of a number as people and models write it: of all of it, or of nothing.

What is read: digits with their thousands, point and power of ten, a fraction, a mixed number, a
power, a product with a power of ten, each with its sign, currency, per cent, scale or unit. What
goes on in another way (``2x``, ``3 + 4``, ``10-15``, ``2:30``, ``3, 5``) has no value here.

A comma before three digits parts thousands, and so do a point that comes twice, a space, an
apostrophe and India's commas; a comma before one or two digits, after a nought or after such points
is a decimal one.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

#: Characters that are looked at around a number; what is longer is no final answer.
_BEFORE, _AFTER = 3_000, 1_000
#: Digits and powers that a number may have.
_DIGITS, _POWER = 400, 400

_THIN = "\u00a0\u2009\u202f"
_SIGNS = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u2215": "/",
                        "\u00f7": "/", "\u00d7": "*", "\u22c5": "*", "\u00b7": "*", "\u2019": "'",
                        "\u2014": "\u2013"})  # fmt: skip
_POWERS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b",
                        "0123456789-")  # fmt: skip

#: What says nothing of the value, by what takes its place.
_PLAIN = (
    (re.compile(r"</?[A-Za-z][^<>\n]{0,80}>"), " "),
    (re.compile(r"(?<=\d)\*\*(?=\d)"), "^"),
    (re.compile(r"(?<![A-Za-z])(?:US|AU?|CA?|NZ|HK|S|R)\$|\b(?:USD|EUR|GBP|INR|CHF|Rs\.?)(?=\s?\d)"), ""),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|operatorname|mbox)\{([^{}]{0,200})\}"), r" \1"),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\!|\*\*|__|`"), ""),
    (re.compile(r"\^(?:\\circ(?![A-Za-z])|\{\\circ\})|\u00b0"), ""),
    (re.compile(r"\\,|~"), "\u2009"),
    (re.compile(r"\\[;: ()\[\]]|\\q?quad(?![A-Za-z])"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\?[$\u20ac\xa3\u00a5\u20b9\u20a9\u20bd]"), ""),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "*"),
    (re.compile(r"(\d{1,2}):00(?=\s?[ap]\.?m)", re.IGNORECASE), r"\1"),
    # The marks of a quotation and of a list, whose dash is no minus, and a list's own numbers.
    (re.compile(r"(?<=\n)[ \t]{0,9}(?:>|[-*+](?=[ \t]))[ \t]{0,9}"), ""),
    (re.compile(r"^[ \t]{0,9}\d{1,3}[.)](?=[ \t]{1,9}\S)", re.MULTILINE), ""),
)  # fmt: skip
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]{1,9}")

_ARG = r"(?:\{\s?\d{1,30}\s?\}|\d)"
_ARGUMENT = re.compile(r"\{\s?(\d+)\s?\}|(\d)")
_TOKEN = re.compile(
    r"(?P<line>\n)"
    rf"|(?P<frac>\\[dt]?frac\s?{_ARG}\s?{_ARG})"
    rf"|(?P<num>(?:[1-9]\d{{0,2}}(?:[ {_THIN}]\d{{3}}(?!\d))+|\d+)(?:[.,'_{_THIN}]\d+)*"
    r"(?:[eE][-+]?\d{1,3}(?!\w))?|\.\d+(?:[eE][-+]?\d{1,3}(?!\w))?)"
    r"|(?P<part>[\u00bc-\u00be\u2150-\u215e])"
    r"|(?P<word>[^\W\d_\u00bc-\u00be]\w*(?:\^\{?-?\d{1,3}\}?)?)"
    r"|(?P<cmd>\\[A-Za-z]+)"
    r"|(?P<eq>=>|->|[=\u2248\u2192\u21d2])"
    r"|(?P<op>[^\s])"
)
_FORMS = (
    re.compile(r"\d*\.?\d+"),
    re.compile(rf"\d{{1,3}}([,'_ {_THIN}])\d{{3}}(?:\1\d{{3}})*(?:\.\d+)?"),
    re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"),
)
_COMMA = (
    re.compile(rf"\d{{1,3}}(?:(['_ {_THIN}])\d{{3}}(?:\1\d{{3}})*)?,\d{{1,2}}|0,\d+|\d+,\d{{1,2}}"),
    re.compile(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"),
)

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "millions": 6, "billion": 9, "trillion": 12}
_VARIABLES = frozenset("xyznkpqruvij\u03c0\u03b1\u03b2\u03b8\u03bb")
_MATHS = frozenset(["pi", "sqrt", "sin", "cos", "tan", "log", "ln", "exp", "xy", "choose", "mod"])
_JOINS = frozenset(["to", "or", "and", "through", "times", "plus", "minus", "over", "divided"])
_GOES_ON = frozenset(["times", "plus", "minus", "over", "divided", "squared", "cubed", "factorial"])
_ENDS = frozenset(["\\approx", "\\ldots", "\\dots", "\\implies", "\\Rightarrow", "\\rightarrow",
                   "\\to", "\\newline", "\\end", "\\boxed", "\\item", "\\therefore"])  # fmt: skip
_UNIT = re.compile(
    r"(?:hour|hr|h|minute|min|second|sec|day|week|month|year|yard|mile|pound|lb|ounce|oz|dollar|cent|euro"
    r"|degree|kg|g|km|m|cm|ft)s?|feet|foot|inch(?:es)?",
    re.IGNORECASE,
)  # fmt: skip
#: What may stand at a number's very end: km, th, cm2.
_SUFFIX = re.compile(r"[^\W\d_]{2,20}\d?(?:\^\{?\d\}?)?")
_NUMBERS = frozenset(["num", "frac", "part"])
_RELATIONS = frozenset("<>\u2264\u2265\u2260\u00b1\u221a")
_DIGIT = re.compile(r"[\d\u00bc-\u00be\u2150-\u215e]")
#: After these words a dash is a minus.
_LEADS = frozenset(["is", "be", "equals", "to", "of", "by", "was", "are", "than", "at", "as"])


class _Token(NamedTuple):
    kind: str
    text: str
    #: Whether nothing stands between it and the one before.
    joined: bool

    def is_variable(self) -> bool:
        return self.kind == "word" and self.text.partition("^")[0].lower() in _VARIABLES

    def is_operand(self) -> bool:
        return self.kind in _NUMBERS or self.is_variable() or self.text in ("(", ")", "}", "%")


_NONE = _Token("line", "\n", joined=False)


class Quantity(NamedTuple):
    """A number that stands in a text, the shortest way; None when it is a part of something else."""

    value: str | None


def first_quantity(text: str) -> Quantity | None:
    """The first number of the text; None when there is none."""
    found = _DIGIT.search(text)
    if found is None:
        return None
    begin = max(0, found.start() - _BEFORE)
    return next(_quantities(text[begin : found.start() + _AFTER]), None)


def last_quantity(text: str) -> Quantity | None:
    """The last number of the text; None when there is none."""
    end = len(text)
    while end > 0 and not _DIGIT.search(text, max(0, end - _BEFORE), end):
        end -= _BEFORE
    found = list(_quantities(text[max(0, end - 2 * _BEFORE) : end + _AFTER])) if end > 0 else []
    return found[-1] if found else None


def all_quantities(text: str) -> list[Quantity]:
    """The numbers at the beginning of the text, as far as a final answer may go."""
    return list(_quantities(text[: _BEFORE + _AFTER]))


def _quantities(window: str) -> Iterator[Quantity]:
    told = window.translate(_SIGNS)
    for pattern, instead in _PLAIN:
        told = pattern.sub(instead, told)
    told = _RAISED.sub(lambda power: f"^{power.group().translate(_POWERS)}", told)
    tokens, last = list[_Token](), 0
    for match in _TOKEN.finditer(told):
        tokens.append(_Token(str(match.lastgroup), match.group(), match.start() == last))
        last = match.end()
    reader = _Reader(tokens)
    for index, token in enumerate(tokens):
        if token.kind in _NUMBERS and index >= reader.after and (found := reader.read(index)):
            yield found


class _Reader:
    """Reads one number after the other."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        #: Where the tokens go on after what was read.
        self.after = 0

    def read(self, index: int) -> Quantity | None:
        """The number that begins there; None when its digits are a name's."""
        sign = self._sign(index)
        if sign == "name":
            return None
        value, self.after = self._value(index, sign)
        whole = sign != "part" and value is not None and not self._goes_on(self.after)
        return Quantity(value if whole else None)

    def _at(self, index: int) -> _Token:
        return self._tokens[index] if 0 <= index < len(self._tokens) else _NONE

    def _sign(self, index: int) -> str:
        """The sign before it, or ``part`` of something that begins before, or of a ``name``."""
        before = self._at(index - 1)
        match before.kind:
            case "op":
                return self._after_mark(self._at(index), before, self._at(index - 2))
            case "cmd":
                return "" if before.text in _ENDS else "part"
            case "word":
                return self._after_word(before.text.lower(), before, index)
            case kind:
                return "part" if kind in _NUMBERS else ""

    def _after_mark(self, token: _Token, mark: _Token, before: _Token) -> str:
        is_word = before.kind == "word"
        match mark.text:
            case "-" | "\u2013":
                return self._dash(token, mark, before)
            case "_":
                return "name" if is_word or before.is_operand() else ""
            case "+" | "*":
                return "part" if is_word or before.is_operand() else ""
            case "/" | "^":
                return "part"
            case "{":
                holds = before.kind == "cmd" and before.text not in _ENDS
                follows = mark.joined and before.text in ("^", "_", "}")
                return "part" if holds or follows else ""
            case "(":
                calls = is_word and (len(before.text) == 1 or before.text.lower() in _MATHS)
                return "part" if mark.joined and (calls or before.kind in _NUMBERS) else ""
            case ":":
                clock = mark.joined and token.joined and before.kind in _NUMBERS
                return "part" if clock else ""
            case ",":
                return "part" if before.kind in _NUMBERS else ""
            case other:
                return "part" if other in _RELATIONS else ""

    def _dash(self, token: _Token, dash: _Token, before: _Token) -> str:
        if before.kind in ("line", "eq"):
            return "-"
        if before.kind == "word":
            word = before.text.lower()
            if word in _LEADS:
                return "-"
            if before.is_variable() or (len(word) == 1 and dash.joined):
                return "part"
            if dash.joined:
                return "name"
            return "-" if token.joined and dash.text == "-" else ""
        if before.is_operand() and before.text != "(":
            return "part"
        if before.text in ("+", "*", "/", "^", "-", "\u2013"):
            return "part"
        opened = before.text in ("(", "[", "{", ":", ",", ";", "|")
        return "-" if opened or (token.joined and dash.text == "-") else ""

    def _after_word(self, word: str, before: _Token, index: int) -> str:
        third, fourth = self._at(index - 2), self._at(index - 3)
        if third.kind in _NUMBERS:
            part = word in _JOINS or before.is_variable() or _UNIT.fullmatch(word) is not None
            return "part" if part else ""
        second = word == "and" and third.kind == "word" and fourth.kind in _NUMBERS
        return "part" if second or word.partition("_")[0] in _MATHS else ""

    def _value(self, index: int, sign: str) -> tuple[str | None, int]:
        token, after = self._at(index), index + 1
        minus = "-" if sign == "-" else ""
        if token.kind != "num":
            part = _fraction(token)
            return (None if part is None else _shortest(part, minus)), after
        bare = _bare(token.text)
        if bare is None:
            return None, after
        if token.text.isdecimal():
            part, after = self._part(after)
            if part is not None:
                return _shortest(int(bare) + part, minus), after
            below = self._at(after + 1)
            if self._at(after).text == "/" and below.text.isdecimal():
                value = Fraction(int(bare), int(below.text)) if int(below.text) else None
                return (None if value is None else _shortest(value, minus)), after + 2
        if self._at(after).text == "^":
            power, after = self._power(after)
            value = _raised(bare, power)
            return (None if value is None else _shortest(value, minus)), after
        scale, after = self._scaled(after)
        if scale is None or abs(scale) > _POWER:
            return None, after
        return _written(f"{minus}{bare}e{scale}"), after

    def _part(self, index: int) -> tuple[Fraction | None, int]:
        """The fraction of a mixed number, as in 3 1/2."""
        token, slash, below = (self._at(index + n) for n in range(3))
        if token.kind in ("frac", "part"):
            return _fraction(token), index + 1
        written = token.kind == "num" and slash.text == "/" and slash.joined and below.joined
        if written and token.text.isdecimal() and below.text.isdecimal() and int(below.text):
            return Fraction(int(token.text), int(below.text)), index + 3
        return None, index

    def _power(self, index: int) -> tuple[int | None, int]:
        """The power behind the mark at the index."""
        index += 1
        braced = self._at(index).text == "{"
        index += braced
        minus = self._at(index).text == "-"
        index += minus
        token = self._at(index)
        index += 1
        closed = not braced or self._at(index).text == "}"
        if not (token.text.isdecimal() and len(token.text) < len(str(_POWER)) + 1 and closed):
            return None, index
        return (-int(token.text) if minus else int(token.text)), index + braced

    def _scaled(self, index: int) -> tuple[int | None, int]:
        """The power of ten that the number is times."""
        scale = 0
        times = self._at(index)
        ten = self._at(index + 1).text == "10" and self._at(index + 2).text == "^"
        if ten and times.text in ("*", "x"):
            power, index = self._power(index + 2)
            if power is None:
                return None, index
            scale += power
        while (name := self._at(index).text.lower()) in _SCALES:
            scale, index = scale + _SCALES[name], index + 1
        return scale, index + (self._at(index).text == "%")

    def _goes_on(self, index: int) -> bool:
        """Whether what stands there makes the number a part of something."""
        token = self._at(index)
        match token.kind:
            case "op":
                return self._mark_goes_on(token, self._at(index + 1))
            case "cmd":
                return token.text not in _ENDS
            case "word":
                return self._word_goes_on(token.text.lower(), token, index)
            case kind:
                return kind in _NUMBERS

    def _mark_goes_on(self, mark: _Token, then: _Token) -> bool:
        match mark.text:
            case "+" | "/" | "^":
                return True
            case "*":
                return then.is_operand()
            case "-" | "\u2013":
                return then.is_operand() or then.kind == "cmd"
            case ":" | ",":
                return then.kind in _NUMBERS and (mark.text == "," or then.joined)
            case "!" | "_":
                return mark.joined and then.joined and then.kind != "line"
            case "(":
                return mark.joined
            case ")" | "]" | "}":
                follows = then.text in ("+", "*", "/", "^")
                joins = then.text in ("-", "(") or then.kind == "cmd" or then.is_variable()
                return follows or (then.joined and joins)
            case other:
                return other in _RELATIONS

    def _word_goes_on(self, word: str, token: _Token, index: int) -> bool:
        then, third = self._at(index + 1), self._at(index + 2)
        if word in _MATHS or word in _GOES_ON or token.is_variable():
            return True
        if token.joined and not _SUFFIX.fullmatch(word):
            return True
        if word in _JOINS:
            half = then.text.lower() == "a" and third.text.lower() in ("half", "third", "quarter")
            return then.kind in _NUMBERS or half
        if then.text.lower() == "and":
            return third.kind in _NUMBERS
        return _UNIT.fullmatch(word) is not None and then.kind in _NUMBERS


def _bare(run: str) -> str | None:
    """The digits of a run as Python takes them; None when the marks between them say nothing."""
    mantissa, mark, power = run.lower().partition("e")
    if len(mantissa) > _DIGITS or (mark and abs(int(power)) > _POWER):
        return None
    grouped = not mantissa.startswith("0,") and any(form.fullmatch(mantissa) for form in _FORMS)
    if grouped:
        plain = re.sub(rf"[,'_ {_THIN}]", "", mantissa)
    elif any(form.fullmatch(mantissa) for form in _COMMA):
        plain = re.sub(rf"[.'_ {_THIN}]", "", mantissa).replace(",", ".")
    else:
        return None
    return f"{plain}{mark}{power}" if not mark else f"{Decimal(plain + mark + power):f}"


def _fraction(token: _Token) -> Fraction | None:
    if token.kind == "part":
        return Fraction(unicodedata.numeric(token.text)).limit_denominator(100)
    above, below = (int(one or other) for one, other in _ARGUMENT.findall(token.text))
    return Fraction(above, below) if below else None


def _raised(bare: str, power: int | None) -> Fraction | None:
    if power is None or len(bare) * abs(power) > _DIGITS or (power < 0 and not Fraction(bare)):
        return None
    return Fraction(bare) ** power


def _shortest(value: Fraction, minus: str) -> str:
    return str(-value if minus else value)


def _written(told: str) -> str:
    """As it stands, without an exponent; a zero has no sign."""
    text = f"{Decimal(told):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
