"""A source: one file of a dataset, and the records in it, one at a time."""

import csv
import datetime as dt
import decimal
import glob
import gzip
import importlib
import math
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from archon_batch.dataset.row import Record
from archon_batch.errors import DatasetError

if TYPE_CHECKING:
    from io import BufferedReader

#: Bytes of a line, characters of a cell. What is longer is refused without being read whole.
LONGEST = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
#: What else a file may be by its first bytes, and what would do.
_OTHERS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet); unpack it, or save it as CSV",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; gzip is read, or the file unpacked",
    b"BZh": "compressed with bzip2; gzip is read, or the file unpacked",
    b"\xfd7zXZ": "compressed with xz; gzip is read, or the file unpacked",
    b"PAR1": "a Parquet file, whose name must end in .parquet",
    _GZIP: "compressed twice; unpack it once",
}
#: Rows of a Parquet file that are in memory at once.
_BATCH = 256

Records = Iterator[tuple[int, Record]]


@dataclass(frozen=True, slots=True)
class Source:
    #: What errors call it.
    file: str
    path: Path
    #: What the ids of rows without one begin with: nothing, or the file's name among several.
    unnamed: str
    #: The file as it was when it was named: its size, when it was written, and which it is.
    state: tuple[int, int, int]

    @classmethod
    def of(cls, path: Path, *, file: str | None = None, unnamed: str = "") -> "Source":
        """The file as it is now.

        Raises:
            DatasetError: it is not there, or not a file.
        """
        name = str(path) if file is None else file
        return cls(name, path, unnamed, _state(name, path))

    def refuse_changed(self) -> None:
        """Check that the file is the one that was named.

        Raises:
            DatasetError: it was written to, or another was put in its place.
        """
        if _state(self.file, self.path) != self.state:
            raise DatasetError(self.file, 0, "changed while it was being read")

    def records(self) -> Records:
        """Every record with its line.

        Raises:
            DatasetError: the file cannot be read, or not as what its suffix says.
        """
        try:
            with _opened(self.path) as handle:
                suffix = Path(self.path.name.lower().removesuffix(".gz")).suffix
                if suffix == ".parquet":
                    yield from _parquet(self.file, handle)
                    return
                _refuse_binary(self.file, handle)
                yield from (_csv if suffix == ".csv" else _jsonl)(self.file, handle)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DatasetError(self.file, 0, "the gzip data is damaged or cut off") from None
        except OSError as error:
            raise DatasetError(self.file, 0, _why(error)) from error


def sources(text: str) -> tuple[Source, ...]:
    """The file of that name, or the files that a pattern such as ``inbox/*.jsonl`` stands for.

    Raises:
        DatasetError: there is none.
    """
    if not glob.has_magic(text) or os.path.lexists(text):
        return (Source.of(Path(text)),)
    found = glob.glob(text, recursive=True)  # noqa: PTH207  (the pattern may be absolute)
    paths = sorted(path for path in map(Path, found) if path.is_file())
    if not paths:
        raise DatasetError(text, 0, "no file fits the pattern")
    if len(paths) == 1:
        return (Source.of(paths[0]),)
    # Two files have the same lines, and the ids must not depend on the folder one stands in.
    root = os.path.commonpath([path.absolute().parent for path in paths])
    return tuple(
        Source.of(path, unnamed=f"{path.absolute().relative_to(root).as_posix()}:")
        for path in paths
    )


def _state(file: str, path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(file, 0, _why(error)) from None
    except ValueError:
        raise DatasetError(file, 0, "no such file") from None
    if stat.S_ISDIR(found.st_mode):
        raise DatasetError(file, 0, "is a folder; name a file, or a pattern such as inbox/*.jsonl")
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(file, 0, "is not a regular file; use - to read from a pipe")
    return found.st_size, found.st_mtime_ns, found.st_ino


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read: {(error.strerror or str(error)).lower()}"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the file, unpacked when its first two say that it is gzip."""
    with path.open("rb") as handle:
        if handle.peek(2)[:2] == _GZIP:
            with gzip.open(handle) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield handle


def _refuse_binary(file: str, handle: BinaryIO) -> None:
    """Say what the file is, where its first line would be told to be no text."""
    first = cast("BufferedReader", handle).peek(8)
    for magic, what in _OTHERS.items():
        if first.startswith(magic):
            raise DatasetError(file, 0, f"this is {what}")


def _lines(handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line with its number; one that is too long is cut just beyond ``LONGEST``."""
    for number in count(1):
        line = handle.readline(LONGEST + 1)
        if not line:
            return
        yield number, line.removeprefix(_BOM) if number == 1 else line
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = handle.readline(LONGEST + 1)


def _jsonl(file: str, handle: BinaryIO) -> Records:
    first = True
    for number, line in _lines(handle):
        text = line.strip()
        if not text:
            continue
        if first and (text.startswith(b"[") or text.endswith((b"{", b"[", b","))):
            raise DatasetError(
                file, number, "this looks like JSON, not JSON Lines: one object per line"
            )
        first = False
        yield number, line if len(line) <= LONGEST else _too_long()


def _too_long() -> DatasetError:
    return DatasetError("", 0, f"the line is longer than {LONGEST // 1024 // 1024} MiB")


def _csv(file: str, handle: BinaryIO) -> Records:
    """The rows below the header. Broken quoting is the file's fault: what follows cannot be told."""
    # The limit is the csv module's, and so the process's; by default it is 128 KiB.
    csv.field_size_limit(LONGEST)
    reader = csv.reader(_decoded(file, handle), strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # The module's advice is about how a file is opened in Python.
            raise DatasetError(file, line, f"not CSV: {str(error).partition(' - ')[0]}") from None
        if cells is None:
            return
        if not cells:
            continue
        if not header:
            header = cells
            if twice := [cell for cell, times in Counter(header).items() if times > 1]:
                raise DatasetError(file, line, f"the column {twice[0]!r} appears twice")
        elif len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        else:
            why = f"{len(cells)} cells, and the header has {len(header)}"
            yield line, DatasetError("", 0, why)


def _decoded(file: str, handle: BinaryIO) -> Iterator[str]:
    for number, line in _lines(handle):
        if len(line) > LONGEST:
            raise DatasetError(file, number, _too_long().why)
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            where = f"byte {error.start + 1} (0x{line[error.start]:02x})"
            raise DatasetError(file, number, f"not UTF-8 at {where}") from None


def _parquet(file: str, handle: BinaryIO) -> Records:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise DatasetError(file, 0, "Parquet needs: pip install archon-batch[parquet]") from None
    line = 0
    try:
        for batch in parquet.ParquetFile(handle).iter_batches(batch_size=_BATCH):
            for cells in batch.to_pylist():
                line += 1
                yield line, _plain_row(cells)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise DatasetError(file, 0, f"not a Parquet file that can be read: {first}") from None


def _plain_row(cells: Mapping[str, object]) -> Record:
    try:
        return {column: _plain(cell, column) for column, cell in cells.items()}
    except DatasetError as error:
        return error


def _plain(value: object, column: str) -> object:
    """The value as JSON has it, so that a row comes back the same from the database."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isinf(value):
                raise DatasetError("", 0, f"{column}: infinity is no JSON number")
            # Tables write a missing number as NaN.
            return None if math.isnan(value) else value
        case list() | tuple():
            return [_plain(inner, column) for inner in value]
        case dict():
            return {str(key): _plain(inner, column) for key, inner in value.items()}
        case dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
    raise DatasetError("", 0, f"{column}: a {type(value).__name__} cannot be written as JSON")
