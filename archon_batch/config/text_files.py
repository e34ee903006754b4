"""Options and keys whose value is text, or ``@FILE`` for the text of a file."""

from pathlib import Path

from archon_batch.untrusted_text import TextFileError, read_text

_MAX_BYTES = 8 << 20


def text_or_file(value: str, folder: Path = Path()) -> str:
    """The text itself, or for ``@FILE`` the content of the file.

    Args:
        value: the text, or ``@FILE``.
        folder: the folder that a relative path starts from.

    Raises:
        ValueError: the file cannot be read; the message says why.
    """
    if not value.startswith("@"):
        return value
    name = value[1:]
    try:
        return read_text(folder / name, _MAX_BYTES)
    except TextFileError as error:
        where = f"{name}:{error.line}" if error.line else name
        raise ValueError(f"{where}: {error.why}") from None
