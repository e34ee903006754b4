"""A source: one file of a dataset, and the records in it, one at a time."""

import csv
import glob
import gzip
import os
import re
import stat
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from archon_batch.dataset.parquet import CellConverter, parquet_rows
from archon_batch.dataset.row import RawRecord
from archon_batch.errors import DatasetError
from archon_batch.untrusted_text import describe_utf8_error

if TYPE_CHECKING:
    from io import BufferedReader

#: Bytes of a line, characters of a cell. What is longer is refused without being read whole.
MAX_LINE = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
#: What else a file may be by its first bytes, and what would do.
_UNSUPPORTED_FORMATS = {
    b"\xd0\xcf\x11\xe0": "a spreadsheet of the old kind; save it as CSV",
    b"PK\x03\x04": "a zip archive (or a spreadsheet); unpack it, or save it as CSV",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; gzip is read, or the file unpacked",
    b"BZh": "compressed with bzip2; gzip is read, or the file unpacked",
    b"\xfd7zXZ": "compressed with xz; gzip is read, or the file unpacked",
    b"PAR1": "a Parquet file, whose name must end in .parquet",
    _GZIP: "compressed twice; unpack it once",
}
#: Folders that a pattern may lead through, and the seconds that it may take.
_MAX_FOLDERS, _MAX_SEARCH_SECONDS = 10_000, 10.0
#: What divides cells, in words.
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTED_CELL, _SEP_LINE = re.compile(r'"(?:[^"]|"")*"?'), re.compile(r"(?i)sep=([,;\t|])")

RecordIterator = Iterator[tuple[int, RawRecord]]


@dataclass(frozen=True, slots=True)
class Source:
    #: What errors call it.
    file: str
    path: Path
    #: What the ids of rows without one begin with: nothing, or the file's name among several.
    id_prefix: str
    #: The file as it was when it was named: its size, when it was written, and which it is.
    fingerprint: tuple[int, int, int]

    @classmethod
    def from_path(cls, path: Path, *, file: str | None = None, id_prefix: str = "") -> "Source":
        """The file as it is now.

        Raises:
            DatasetError: it is not there, or not a file.
        """
        name = str(path) if file is None else file
        return cls(name, path, id_prefix, _fingerprint(name, path))

    def check_unchanged(self) -> None:
        """Check that the file is the one that was named.

        Raises:
            DatasetError: it was written to, or another was put in its place.
        """
        if _fingerprint(self.file, self.path) != self.fingerprint:
            raise DatasetError(self.file, 0, "changed while it was being read")

    def records(
        self,
        is_used: Callable[[str], bool] = lambda _column: True,
        undecoded_columns: set[str] | None = None,
    ) -> RecordIterator:
        """Every record with its line.

        Args:
            is_used: whether a column is needed. Of others, bytes that are no text are left out.
            undecoded_columns: takes the names of the columns of which something was left out.

        Raises:
            DatasetError: the file cannot be read, or not as what its suffix says.
        """
        try:
            with _open_decompressed(self.path) as handle:
                suffix = Path(self.path.name.lower().removesuffix(".gz")).suffix
                if suffix == ".parquet":
                    plain = CellConverter(
                        is_used, set() if undecoded_columns is None else undecoded_columns
                    )
                    yield from parquet_rows(self.file, handle, plain)
                    return
                _reject_binary(self.file, handle)
                yield from (_read_csv if suffix in (".csv", ".tsv") else _read_jsonl)(
                    self.file, handle
                )
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DatasetError(self.file, 0, "the gzip data is damaged or cut off") from None
        except OSError as error:
            raise DatasetError(self.file, 0, _describe_os_error(error)) from error


def find_sources(path_or_pattern: str) -> tuple[Source, ...]:
    """The file of that name, or the files that a pattern such as ``inbox/*.jsonl`` stands for.

    Raises:
        DatasetError: there is none.
    """
    if not glob.has_magic(path_or_pattern) or os.path.lexists(path_or_pattern):
        return (Source.from_path(Path(path_or_pattern)),)
    paths = sorted(path for path in map(Path, _expand_pattern(path_or_pattern)) if path.is_file())
    if not paths:
        raise DatasetError(path_or_pattern, 0, "no file fits the pattern")
    if len(paths) == 1:
        return (Source.from_path(paths[0]),)
    # Two files have the same lines, and the ids must not depend on the folder one stands in.
    root = os.path.commonpath([path.absolute().parent for path in paths])
    return tuple(
        Source.from_path(path, id_prefix=f"{path.absolute().relative_to(root).as_posix()}:")
        for path in paths
    )


def _expand_pattern(pattern: str) -> Iterator[str]:
    """What fits the pattern.

    Raises:
        DatasetError: it leads over the whole disk, of which glob itself would tell nothing.
    """
    began = time.monotonic()
    plain, magic, rest = _split_pattern(pattern)
    deepest = None if "**" in magic + rest else rest.count("/")
    for seen, (folder, inner, _) in enumerate(os.walk(plain or "."), 1):
        if seen > _MAX_FOLDERS or time.monotonic() - began > _MAX_SEARCH_SECONDS:
            why = f"the pattern leads through over {seen - 1:,} folders; name fewer"
            raise DatasetError(pattern, 0, why)
        below = os.path.relpath(folder, plain or ".")
        if deepest is not None and (0 if below == "." else below.count("/") + 1) >= deepest:
            inner.clear()
    yield from glob.iglob(pattern, recursive=True)  # noqa: PTH207  (the pattern may be absolute)


def _split_pattern(pattern: str) -> tuple[str, str, str]:
    """The folder before the first part that stands for several, that part, and the rest."""
    parts = pattern.split("/")
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    before = "/".join(parts[:first]) + "/" if first else ""
    return before, parts[first], "/".join(["", *parts[first + 1 :]])


def _fingerprint(file: str, path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(file, 0, _describe_os_error(error)) from None
    except ValueError:
        raise DatasetError(file, 0, "no such file") from None
    if stat.S_ISDIR(found.st_mode):
        raise DatasetError(file, 0, "is a folder; name a file, or a pattern such as inbox/*.jsonl")
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(file, 0, "is not a regular file; use - to read from a pipe")
    return found.st_size, found.st_mtime_ns, found.st_ino


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read: {(error.strerror or str(error)).lower()}"


@contextmanager
def _open_decompressed(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the file, unpacked when its first two say that it is gzip."""
    with path.open("rb") as handle:
        if handle.peek(2)[:2] == _GZIP:
            with gzip.open(handle) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield handle


def _reject_binary(file: str, handle: BinaryIO) -> None:
    """Say what the file is, where its first line would be told to be no text."""
    first = cast("BufferedReader", handle).peek(8)
    for magic, what in _UNSUPPORTED_FORMATS.items():
        if first.startswith(magic):
            raise DatasetError(file, 0, f"this is {what}")


def _lines(handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line with its number; one that is too long is cut just beyond ``LONGEST``."""
    for number in count(1):
        line = handle.readline(MAX_LINE + 1)
        if not line:
            return
        yield number, line.removeprefix(_BOM) if number == 1 else line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = handle.readline(MAX_LINE + 1)


def _read_jsonl(file: str, handle: BinaryIO) -> RecordIterator:
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
        yield number, line if len(line) <= MAX_LINE else _line_too_long()


def _line_too_long() -> DatasetError:
    return DatasetError("", 0, f"the line is longer than {MAX_LINE // 1024 // 1024} MiB")


def _read_csv(file: str, handle: BinaryIO) -> RecordIterator:
    """The rows below the header. Broken quoting is the file's fault: what follows cannot be told."""
    # The limit is the csv module's, and so the process's; by default it is 128 KiB.
    csv.field_size_limit(MAX_LINE)
    lines = _decode_lines(file, handle)
    head, divided = _detect_delimiter(file, lines)
    reader = csv.reader(chain(head, lines), delimiter=divided, strict=True)
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


def _detect_delimiter(file: str, lines: Iterator[str]) -> tuple[list[str], str]:
    """The lines up to the header, and what divides its cells: spreadsheets go by the country.

    The line ``sep=;``, which some write for others, is left empty.

    Raises:
        DatasetError: the header may be divided in more than one way.
    """
    head: list[str] = []
    for line in lines:
        head.append(line)
        if said := _SEP_LINE.fullmatch(line.strip()):
            head[-1] = "\n"
            return head, said[1]
        if line.strip():
            break
    there = [sign for sign in _DELIMITERS if sign in _QUOTED_CELL.sub("", head[-1] if head else "")]
    if len(there) > 1:
        names = " and by ".join(_DELIMITERS[sign] for sign in there)
        why = f"the header is divided by {names}; put a name that has one of them in quotes"
        raise DatasetError(file, len(head), why)
    return head, there[0] if there else ","


def _decode_lines(file: str, handle: BinaryIO) -> Iterator[str]:
    for number, line in _lines(handle):
        if len(line) > MAX_LINE:
            raise DatasetError(file, number, _line_too_long().why)
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise DatasetError(file, number, describe_utf8_error(error)) from None
