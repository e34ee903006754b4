"""Text that stands in a file of its own, where ``@FILE`` is written in its place."""

from pathlib import Path

from archon_batch.untrusted_text import why_not_utf8

_LARGEST = 8 << 20


def text_of(given: str, folder: Path = Path()) -> str:
    """The text itself, or what the file holds that ``@FILE`` names.

    Args:
        given: as it was written.
        folder: from which the file is seen.

    Raises:
        ValueError: the file cannot be read; the message says why.
    """
    if not given.startswith("@"):
        return given
    name = given[1:]
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot read {name}: {why.lower()}") from None
    if len(data) > _LARGEST:
        raise ValueError(f"{name} is larger than {_LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: {why_not_utf8(error)}") from None
