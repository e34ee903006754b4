"""Untrusted text: escapes control characters, and reads files that must be UTF-8."""

import codecs
import re
from pathlib import Path

#: Control and bidirectional characters and lone surrogates, except tabs and line feeds.
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ENCODINGS_BY_MARK = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def escape_control(text: str) -> str:
    r"""Escape control and bidirectional characters, as ``\u202e``, for a terminal or a page.

    Tabs and line feeds stay.
    """
    return _CONTROL_CHARACTERS.sub(_escape_sequence, text.replace("\r\n", "\n"))


def escape_to_line(text: str) -> str:
    """``escape_control`` on a single line: line feeds are escaped too."""
    return escape_control(text).replace("\n", r"\n")


def escape_control_json(encoded: str) -> str:
    """Equivalent JSON, with the same characters as JSON escapes."""
    return _CONTROL_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def _escape_sequence(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


class TextFileError(ValueError):
    """A text file cannot be read; ``line`` counts from 1, and 0 means the whole file."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(line, why)
        self.line, self.why = line, why

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}" if self.line else self.why


def read_text(path: Path, max_bytes: int) -> str:
    """The text of a UTF-8 file, which may have a byte order mark.

    Raises:
        TextFileError: the file cannot be read, is too large, or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise TextFileError(0, "no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TextFileError(0, f"cannot be read: {reason.lower()}") from None
    if len(data) > max_bytes:
        raise TextFileError(0, f"larger than {max_bytes >> 20} MiB")
    if not data.startswith(tuple(_ENCODINGS_BY_MARK)) and b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise TextFileError(line, "has the byte 0x00; if it is UTF-16, save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextFileError(line, describe_utf8_error(error)) from None


def describe_utf8_error(error: UnicodeDecodeError) -> str:
    """What is wrong with the bytes, and what to do."""
    problem = f"not UTF-8 at byte {error.start + 1} (0x{error.object[error.start]:02x})"
    name = next(
        (n for mark, n in _ENCODINGS_BY_MARK.items() if error.object.startswith(mark)), None
    )
    return f"{problem}: it is {name}; save it as UTF-8" if name else f"{problem}; save it as UTF-8"
