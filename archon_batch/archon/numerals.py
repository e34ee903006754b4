"""Tokens of a text with numbers, and the values of the tokens."""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

#: Limits of a number.
_MAX_DIGITS, MAX_EXPONENT = 400, 400

_THIN = "\u00a0\u2009\u202f"
_SIGNS = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u2215": "/",
                        "\u00f7": "/", "\u00d7": "*", "\u22c5": "*", "\u00b7": "*", "\u2019": "'",
                        "\u2014": "\u2013"})  # fmt: skip
_POWERS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b",
                        "0123456789-")  # fmt: skip

#: Markup that does not change a value, with its replacement.
_CLEANUPS = (
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
    # Markers of quotes and lists, whose dash is no minus sign, and the numbers of list items.
    (re.compile(r"(?<=\n)[ \t]{0,9}(?:>|[-*+](?=[ \t]))[ \t]{0,9}"), ""),
    (re.compile(r"^[ \t]{0,9}\d{1,3}[.)](?=[ \t]{1,9}\S)", re.MULTILINE), ""),
)  # fmt: skip
_SUPERSCRIPTS = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]{1,9}")

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
_GROUPED_FORMS = (
    re.compile(r"\d*\.?\d+"),
    re.compile(rf"\d{{1,3}}([,'_ {_THIN}])\d{{3}}(?:\1\d{{3}})*(?:\.\d+)?"),
    re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"),
)
_DECIMAL_COMMA_FORMS = (
    re.compile(rf"\d{{1,3}}(?:(['_ {_THIN}])\d{{3}}(?:\1\d{{3}})*)?,\d{{1,2}}|0,\d+|\d+,\d{{1,2}}"),
    re.compile(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"),
)

_VARIABLES = frozenset("xyznkpqruvij\u03c0\u03b1\u03b2\u03b8\u03bb")
NUMBER_KINDS = frozenset(["num", "frac", "part"])


class Token(NamedTuple):
    kind: str
    text: str
    #: Whether the token directly follows the one before.
    adjacent: bool

    def is_variable(self) -> bool:
        return self.kind == "word" and self.text.partition("^")[0].lower() in _VARIABLES

    def is_operand(self) -> bool:
        return self.kind in NUMBER_KINDS or self.is_variable() or self.text in ("(", ")", "}", "%")


NO_TOKEN = Token("line", "\n", adjacent=False)


def tokenize(text: str) -> list[Token]:
    """The numbers, words and punctuation of a short text, without markup."""
    cleaned = text.translate(_SIGNS)
    for pattern, instead in _CLEANUPS:
        cleaned = pattern.sub(instead, cleaned)
    cleaned = _SUPERSCRIPTS.sub(lambda power: f"^{power.group().translate(_POWERS)}", cleaned)
    tokens, last = list[Token](), 0
    for match in _TOKEN.finditer(cleaned):
        tokens.append(Token(str(match.lastgroup), match.group(), match.start() == last))
        last = match.end()
    return tokens


def normalize_digits(digits: str) -> str | None:
    """The number in Python syntax; None if its separators are ambiguous or wrong."""
    mantissa, mark, power = digits.lower().partition("e")
    if len(mantissa) > _MAX_DIGITS or (mark and abs(int(power)) > MAX_EXPONENT):
        return None
    grouped = not mantissa.startswith("0,") and any(
        form.fullmatch(mantissa) for form in _GROUPED_FORMS
    )
    if grouped:
        plain = re.sub(rf"[,'_ {_THIN}]", "", mantissa)
    elif any(form.fullmatch(mantissa) for form in _DECIMAL_COMMA_FORMS):
        plain = re.sub(rf"[.'_ {_THIN}]", "", mantissa).replace(",", ".")
    else:
        return None
    return f"{plain}{mark}{power}" if not mark else f"{Decimal(plain + mark + power):f}"


def parse_fraction(token: Token) -> Fraction | None:
    if token.kind == "part":
        return Fraction(unicodedata.numeric(token.text)).limit_denominator(100)
    above, below = (int(one or other) for one, other in _ARGUMENT.findall(token.text))
    return Fraction(above, below) if below else None


def raise_to_power(digits: str, power: int | None) -> Fraction | None:
    if (
        power is None
        or len(digits) * abs(power) > _MAX_DIGITS
        or (power < 0 and not Fraction(digits))
    ):
        return None
    return Fraction(digits) ** power


def format_fraction(value: Fraction, minus: str) -> str:
    return str(-value if minus else value)


def format_decimal(digits: str) -> str:
    """All digits, without an exponent; zero has no sign."""
    text = f"{Decimal(digits):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
