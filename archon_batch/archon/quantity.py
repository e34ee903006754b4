"""Parses numbers in text as people and models write them, completely or not at all.

Supported are digits with separators, point and power of ten, fractions, mixed numbers, powers, and
products with a power of ten, each with sign, currency, per cent, scale or unit. A number that is
part of something else (``2x``, ``3 + 4``, ``10-15``, ``2:30``, ``3, 5``) has no value.

A comma before three digits separates thousands, as do repeated points, a space, an apostrophe and
Indian commas. A comma before one or two digits, after a zero, or after such points, is decimal.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from archon_batch.archon.numerals import (
    MAX_EXPONENT,
    NO_TOKEN,
    NUMBER_KINDS,
    Token,
    format_decimal,
    format_fraction,
    normalize_digits,
    parse_fraction,
    raise_to_power,
    tokenize,
)

#: Characters to parse around a number; a final answer is shorter.
_CHARACTERS_BEFORE, _CHARACTERS_AFTER = 3_000, 1_000
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "millions": 6, "billion": 9, "trillion": 12}
_MATHS = frozenset(["pi", "sqrt", "sin", "cos", "tan", "log", "ln", "exp", "xy", "choose", "mod"])
_JOINS = frozenset(["to", "or", "and", "through", "times", "plus", "minus", "over", "divided"])
_CONTINUATIONS = frozenset(
    ["times", "plus", "minus", "over", "divided", "squared", "cubed", "factorial"]
)
_ENDS = frozenset(["\\approx", "\\ldots", "\\dots", "\\implies", "\\Rightarrow", "\\rightarrow",
                   "\\to", "\\newline", "\\end", "\\boxed", "\\item", "\\therefore"])  # fmt: skip
_UNIT = re.compile(
    r"(?:hour|hr|h|minute|min|second|sec|day|week|month|year|yard|mile|pound|lb|ounce|oz|dollar|cent|euro"
    r"|degree|kg|g|km|m|cm|ft)s?|feet|foot|inch(?:es)?",
    re.IGNORECASE,
)  # fmt: skip
#: A suffix without a space: km, th, cm2.
_SUFFIX = re.compile(r"[^\W\d_]{2,20}\d?(?:\^\{?\d\}?)?")
_RELATIONS = frozenset("<>\u2264\u2265\u2260\u00b1\u221a")
_DIGIT = re.compile(r"[\d\u00bc-\u00be\u2150-\u215e]")
#: After these words a dash is a minus sign.
_WORDS_BEFORE_MINUS = frozenset(
    ["is", "be", "equals", "to", "of", "by", "was", "are", "than", "at", "as"]
)


class Quantity(NamedTuple):
    """A number in a text, normalised; None if it is part of something else."""

    value: str | None


def first_quantity(text: str) -> Quantity | None:
    """The first number of the text; None if there is none."""
    digit = _DIGIT.search(text)
    if digit is None:
        return None
    begin = max(0, digit.start() - _CHARACTERS_BEFORE)
    return next(_find_quantities(text[begin : digit.start() + _CHARACTERS_AFTER]), None)


def last_quantity(text: str) -> Quantity | None:
    """The last number of the text; None if there is none."""
    end = len(text)
    while end > 0 and not _DIGIT.search(text, max(0, end - _CHARACTERS_BEFORE), end):
        end -= _CHARACTERS_BEFORE
    found = (
        list(_find_quantities(text[max(0, end - 2 * _CHARACTERS_BEFORE) : end + _CHARACTERS_AFTER]))
        if end > 0
        else []
    )
    return found[-1] if found else None


def all_quantities(text: str) -> list[Quantity]:
    """The numbers at the beginning of the text, within the length of a final answer."""
    return list(_find_quantities(text[: _CHARACTERS_BEFORE + _CHARACTERS_AFTER]))


def _find_quantities(window: str) -> Iterator[Quantity]:
    tokens = tokenize(window)
    reader = _QuantityReader(tokens)
    for index, token in enumerate(tokens):
        if token.kind in NUMBER_KINDS and index >= reader.after and (found := reader.read(index)):
            yield found


class _QuantityReader:
    """Parses one number after the other."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        #: The index of the first token after the last number.
        self.after = 0

    def read(self, index: int) -> Quantity | None:
        """The number at the index; None if its digits belong to a name."""
        sign = self._sign(index)
        if sign == "name":
            return None
        value, self.after = self._parse_value(index, sign)
        whole = sign != "part" and value is not None and not self._continues(self.after)
        return Quantity(value if whole else None)

    def _at(self, index: int) -> Token:
        return self._tokens[index] if 0 <= index < len(self._tokens) else NO_TOKEN

    def _sign(self, index: int) -> str:
        """The sign; ``part`` if the number continues something before it; ``name`` if it is in a name."""
        before = self._at(index - 1)
        match before.kind:
            case "op":
                return self._sign_after_mark(self._at(index), before, self._at(index - 2))
            case "cmd":
                return "" if before.text in _ENDS else "part"
            case "word":
                return self._sign_after_word(before.text.lower(), before, index)
            case kind:
                return "part" if kind in NUMBER_KINDS else ""

    def _sign_after_mark(self, token: Token, mark: Token, before: Token) -> str:
        is_word = before.kind == "word"
        match mark.text:
            case "-" | "\u2013":
                return self._sign_of_dash(token, mark, before)
            case "_":
                return "name" if is_word or before.is_operand() else ""
            case "+" | "*":
                return "part" if is_word or before.is_operand() else ""
            case "/" | "^":
                return "part"
            case "{":
                holds = before.kind == "cmd" and before.text not in _ENDS
                follows = mark.adjacent and before.text in ("^", "_", "}")
                return "part" if holds or follows else ""
            case "(":
                calls = is_word and (len(before.text) == 1 or before.text.lower() in _MATHS)
                return "part" if mark.adjacent and (calls or before.kind in NUMBER_KINDS) else ""
            case ":":
                clock = mark.adjacent and token.adjacent and before.kind in NUMBER_KINDS
                return "part" if clock else ""
            case ",":
                return "part" if before.kind in NUMBER_KINDS else ""
            case other:
                return "part" if other in _RELATIONS else ""

    def _sign_of_dash(self, token: Token, dash: Token, before: Token) -> str:
        if before.kind in ("line", "eq"):
            return "-"
        if before.kind == "word":
            word = before.text.lower()
            if word in _WORDS_BEFORE_MINUS:
                return "-"
            if before.is_variable() or (len(word) == 1 and dash.adjacent):
                return "part"
            if dash.adjacent:
                return "name"
            return "-" if token.adjacent and dash.text == "-" else ""
        if before.is_operand() and before.text != "(":
            return "part"
        if before.text in ("+", "*", "/", "^", "-", "\u2013"):
            return "part"
        opened = before.text in ("(", "[", "{", ":", ",", ";", "|")
        return "-" if opened or (token.adjacent and dash.text == "-") else ""

    def _sign_after_word(self, word: str, before: Token, index: int) -> str:
        third, fourth = self._at(index - 2), self._at(index - 3)
        if third.kind in NUMBER_KINDS:
            part = word in _JOINS or before.is_variable() or _UNIT.fullmatch(word) is not None
            return "part" if part else ""
        second = word == "and" and third.kind == "word" and fourth.kind in NUMBER_KINDS
        return "part" if second or word.partition("_")[0] in _MATHS else ""

    def _parse_value(self, index: int, sign: str) -> tuple[str | None, int]:
        token, after = self._at(index), index + 1
        minus = "-" if sign == "-" else ""
        if token.kind != "num":
            part = parse_fraction(token)
            return (None if part is None else format_fraction(part, minus)), after
        bare = normalize_digits(token.text)
        if bare is None:
            return None, after
        if token.text.isdecimal():
            part, after = self._mixed_fraction(after)
            if part is not None:
                return format_fraction(int(bare) + part, minus), after
            below = self._at(after + 1)
            if self._at(after).text == "/" and below.text.isdecimal():
                value = Fraction(int(bare), int(below.text)) if int(below.text) else None
                return (None if value is None else format_fraction(value, minus)), after + 2
        if self._at(after).text == "^":
            power, after = self._exponent(after)
            value = raise_to_power(bare, power)
            return (None if value is None else format_fraction(value, minus)), after
        scale, after = self._power_of_ten(after)
        if scale is None or abs(scale) > MAX_EXPONENT:
            return None, after
        return format_decimal(f"{minus}{bare}e{scale}"), after

    def _mixed_fraction(self, index: int) -> tuple[Fraction | None, int]:
        """The fraction of a mixed number, as in 3 1/2."""
        token, slash, below = (self._at(index + n) for n in range(3))
        if token.kind in ("frac", "part"):
            return parse_fraction(token), index + 1
        written = token.kind == "num" and slash.text == "/" and slash.adjacent and below.adjacent
        if written and token.text.isdecimal() and below.text.isdecimal() and int(below.text):
            return Fraction(int(token.text), int(below.text)), index + 3
        return None, index

    def _exponent(self, index: int) -> tuple[int | None, int]:
        """The exponent after the ``^`` at the index."""
        index += 1
        braced = self._at(index).text == "{"
        index += braced
        minus = self._at(index).text == "-"
        index += minus
        token = self._at(index)
        index += 1
        closed = not braced or self._at(index).text == "}"
        if not (token.text.isdecimal() and len(token.text) < len(str(MAX_EXPONENT)) + 1 and closed):
            return None, index
        return (-int(token.text) if minus else int(token.text)), index + braced

    def _power_of_ten(self, index: int) -> tuple[int | None, int]:
        """The power of ten that scales the number."""
        scale = 0
        times = self._at(index)
        ten = self._at(index + 1).text == "10" and self._at(index + 2).text == "^"
        if ten and times.text in ("*", "x"):
            power, index = self._exponent(index + 2)
            if power is None:
                return None, index
            scale += power
        while (name := self._at(index).text.lower()) in _SCALES:
            scale, index = scale + _SCALES[name], index + 1
        return scale, index + (self._at(index).text == "%")

    def _continues(self, index: int) -> bool:
        """Whether the token at the index makes the number part of something."""
        token = self._at(index)
        match token.kind:
            case "op":
                return self._mark_continues(token, self._at(index + 1))
            case "cmd":
                return token.text not in _ENDS
            case "word":
                return self._word_continues(token.text.lower(), token, index)
            case kind:
                return kind in NUMBER_KINDS

    def _mark_continues(self, mark: Token, then: Token) -> bool:
        match mark.text:
            case "+" | "/" | "^":
                return True
            case "*":
                return then.is_operand()
            case "-" | "\u2013":
                return then.is_operand() or then.kind == "cmd"
            case ":" | ",":
                return then.kind in NUMBER_KINDS and (mark.text == "," or then.adjacent)
            case "!" | "_":
                return mark.adjacent and then.adjacent and then.kind != "line"
            case "(":
                return mark.adjacent
            case ")" | "]" | "}":
                follows = then.text in ("+", "*", "/", "^")
                joins = then.text in ("-", "(") or then.kind == "cmd" or then.is_variable()
                return follows or (then.adjacent and joins)
            case other:
                return other in _RELATIONS

    def _word_continues(self, word: str, token: Token, index: int) -> bool:
        then, third = self._at(index + 1), self._at(index + 2)
        if word in _MATHS or word in _CONTINUATIONS or token.is_variable():
            return True
        if token.adjacent and not _SUFFIX.fullmatch(word):
            return True
        if word in _JOINS:
            half = then.text.lower() == "a" and third.text.lower() in ("half", "third", "quarter")
            return then.kind in NUMBER_KINDS or half
        if then.text.lower() == "and":
            return third.kind in NUMBER_KINDS
        return _UNIT.fullmatch(word) is not None and then.kind in NUMBER_KINDS
