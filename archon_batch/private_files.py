"""Files that their owner alone may read, whatever the umask: what is paid for is nobody else's."""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def open_private(path: Path, mode: str, **options: Any) -> IO[Any]:  # noqa: ANN401
    """As ``open`` does; the file, new or replaced, can be read by its owner alone.

    Raises:
        OSError: it cannot be opened.
    """
    return open(path, mode, opener=_opener, **options)


def make_private_dir(path: Path) -> None:
    """Make the folder where it is not there, for its owner alone.

    Raises:
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _opener(path: str, flags: int) -> int:
    handle = os.open(path, flags, 0o600)
    if flags & (os.O_WRONLY | os.O_RDWR):
        # One that was there has the rights that it had; another's file keeps them.
        with suppress(OSError):
            os.fchmod(handle, 0o600)
    return handle
