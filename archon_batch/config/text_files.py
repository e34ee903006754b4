"""Text that stands in a file of its own, where ``@FILE`` is written in its place."""

from pathlib import Path

from archon_batch.untrusted_text import describe_utf8_error

_MAX_BYTES = 8 << 20


def text_or_file(value: str, folder: Path = Path()) -> str:
    """The text itself, or what the file holds that ``@FILE`` names.

    Args:
        value: as it was written.
        folder: from which the file is seen.

    Raises:
        ValueError: the file cannot be read; the message says why.
    """
    if not value.startswith("@"):
        return value
    name = value[1:]
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot read {name}: {why.lower()}") from None
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: {describe_utf8_error(error)}") from None
