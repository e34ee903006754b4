"""Text of others: how it is shown where something obeys it, and read where it has to be UTF-8."""

import codecs
import re

#: What moves a cursor, turns the order of letters, or is half of one; not tabs and new lines.
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ENCODINGS_BY_MARK = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
#: What files that are not UTF-8 may begin with.
BYTE_ORDER_MARKS = tuple(_ENCODINGS_BY_MARK)


def escape_control(text: str) -> str:
    r"""The text with its control and bidirectional characters spelt out, as ``\u202e``.

    A terminal and a page show them then, and obey none. Tabs and new lines stay.
    """
    return _CONTROL_CHARACTERS.sub(_escape_sequence, text.replace("\r\n", "\n"))


def escape_to_line(text: str) -> str:
    """The same in one line, whose ends no text can forge."""
    return escape_control(text).replace("\n", r"\n")


def escape_control_json(encoded: str) -> str:
    """JSON that reads back as the same, with what ``visible`` spells out as JSON's escapes."""
    return _CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)


def _escape_sequence(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def describe_utf8_error(error: UnicodeDecodeError) -> str:
    """What is wrong with the bytes, and what would do."""
    where = f"not UTF-8 at byte {error.start + 1} (0x{error.object[error.start]:02x})"
    name = next(
        (n for mark, n in _ENCODINGS_BY_MARK.items() if error.object.startswith(mark)), None
    )
    return f"{where}: it is {name}; save it as UTF-8" if name else f"{where}; save it as UTF-8"
