"""Files and folders that only their owner can read, under any umask."""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def open_private(path: Path, mode: str, **options: Any) -> IO[Any]:  # noqa: ANN401
    """Like ``open``, but only the owner can read the file, be it new or existing.

    Raises:
        OSError: it cannot be opened.
    """
    return open(path, mode, opener=_opener, **options)


def make_private_dir(path: Path) -> None:
    """Create the folder, if it does not exist, for its owner only.

    Raises:
        OSError: it cannot be created.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _opener(path: str, flags: int) -> int:
    handle = os.open(path, flags, 0o600)
    if flags & (os.O_WRONLY | os.O_RDWR):
        # An existing file has other permissions; those of another owner's file cannot be changed.
        with suppress(OSError):
            os.fchmod(handle, 0o600)
    return handle
