"""The file of a SQLite database: detects that it was deleted, moved or replaced.

A process that has a deleted, moved or replaced file open can still write it: the commits succeed and
are lost when the process ends.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from archon_batch.errors import StoreReplacedError

#: The database, its write-ahead log, and the index of that log.
_SUFFIXES = ("", "-wal", "-shm")


class SqliteFile:
    def __init__(self, engine: Engine) -> None:
        self._path = str(Path(engine.url.database or "").absolute())
        self._paths = {"": self._path}
        self._seen: dict[str, tuple[int, int]] = {}
        self._connections = 0

        @sa.event.listens_for(engine, "do_connect")
        def _before_connect(*_: Any) -> None:  # noqa: ANN401
            # SQLite would create an empty file, or open a different one.
            self.check_unchanged()

        @sa.event.listens_for(engine, "close")
        def _on_close(*_: Any) -> None:  # noqa: ANN401
            self._connections -= 1
            if not self._connections:
                # SQLite deletes both logs with the last connection and creates them with the next.
                for part in _SUFFIXES[1:]:
                    self._seen.pop(part, None)
                    self._paths.pop(part, None)

        @sa.event.listens_for(engine, "connect")
        def _after_connect(_connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401
            self._connections += 1
            # If the path is a link, SQLite puts the logs beside its target.
            real = os.path.realpath(self._path)
            self._paths |= {part: real + part for part in _SUFFIXES[1:]}
            self.check_unchanged()

    def check_unchanged(self) -> None:
        """Compare device and inode of the three files, which takes microseconds.

        Raises:
            StoreReplacedError: another file, or none, is at the path.
        """
        for part, path in self._paths.items():
            identity, seen = _identity(path), self._seen.get(part)
            if seen is None and identity is not None:
                # SQLite creates the files one after the other.
                self._seen[part] = identity
            elif identity != seen:
                what = "is gone" if identity is None else "is another file now"
                raise StoreReplacedError(
                    f"database: {self._path}{part} {what}: it was deleted, moved or replaced "
                    "while it was open; put the original back, then resume"
                )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  (pathlib takes three times as long)
    except OSError:
        return None
    return status.st_dev, status.st_ino
