"""The file of a SQLite database: whether what was opened is what stands there.

A file that is deleted, moved or replaced stays as it is for whoever has it open: commits go into it,
and are gone with the process.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from archon_batch.errors import StoreReplacedError

#: The file, what is committed and not yet in it, and where that is looked up.
_SUFFIXES = ("", "-wal", "-shm")


class SqliteFile:
    def __init__(self, engine: Engine) -> None:
        self._path = str(Path(engine.url.database or "").absolute())
        self._paths = {"": self._path}
        self._seen: dict[str, tuple[int, int]] = {}
        self._connections = 0

        @sa.event.listens_for(engine, "do_connect")
        def _before(*_: Any) -> None:  # noqa: ANN401
            # SQLite would make an empty file, or open another one beside that of before.
            self.check_unchanged()

        @sa.event.listens_for(engine, "close")
        def _closed(*_: Any) -> None:  # noqa: ANN401
            self._connections -= 1
            if not self._connections:
                # SQLite removes them after the last connection, and makes new ones for the next.
                for part in _SUFFIXES[1:]:
                    self._seen.pop(part, None)
                    self._paths.pop(part, None)

        @sa.event.listens_for(engine, "connect")
        def _after(_connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401
            self._connections += 1
            # SQLite puts the other two beside what a link leads to.
            real = os.path.realpath(self._path)
            self._paths |= {part: real + part for part in _SUFFIXES[1:]}
            self.check_unchanged()

    def check_unchanged(self) -> None:
        """Three looks into a folder: some microseconds.

        Raises:
            StoreGoneError: what was opened does not stand there any more.
        """
        for part, path in self._paths.items():
            found, seen = _identity(path), self._seen.get(part)
            if seen is None and found is not None:
                # SQLite makes them one after the other.
                self._seen[part] = found
            elif found != seen:
                what = "is not there any more" if found is None else "is another file now"
                raise StoreReplacedError(
                    f"database: {self._path}{part} {what}: it was deleted, moved or replaced in the "
                    "middle of this; put the one that was there back, then resume"
                )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (a third of the time)
    except OSError:
        return None
    return found.st_dev, found.st_ino
