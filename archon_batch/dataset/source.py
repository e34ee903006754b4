"""A source: one file of a dataset, whose records are streamed."""

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

#: Bytes of a line, and characters of a cell. A longer one is rejected without being read whole.
MAX_LINE = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
#: Unsupported formats by their first bytes, and what to do instead.
_UNSUPPORTED_FORMATS = {
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls); save it as CSV",
    b"PK\x03\x04": "a zip archive (or a spreadsheet); unpack it, or save it as CSV",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; use gzip, or decompress it",
    b"BZh": "compressed with bzip2; use gzip, or decompress it",
    b"\xfd7zXZ": "compressed with xz; use gzip, or decompress it",
    b"PAR1": "a Parquet file, whose name must end in .parquet",
    _GZIP: "compressed twice; decompress it once",
}
#: Folders that a pattern may search, and the seconds that it may take.
_MAX_FOLDERS, _MAX_SEARCH_SECONDS = 10_000, 10.0
#: The delimiters of cells, and their names.
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTED_CELL, _SEP_LINE = re.compile(r'"(?:[^"]|"")*"?'), re.compile(r"(?i)sep=([,;\t|])")

RecordIterator = Iterator[tuple[int, RawRecord]]


@dataclass(frozen=True, slots=True)
class Source:
    #: Its name in errors.
    file: str
    path: Path
    #: Prefix of generated ids: empty, or the file's name if there are several files.
    id_prefix: str
    #: Size, modification time and inode of the file when it was opened.
    fingerprint: tuple[int, int, int]

    @classmethod
    def from_path(cls, path: Path, *, file: str | None = None, id_prefix: str = "") -> "Source":
        """The file in its present state.

        Raises:
            DatasetError: it does not exist, or is no regular file.
        """
        name = str(path) if file is None else file
        return cls(name, path, id_prefix, _fingerprint(name, path))

    def check_unchanged(self) -> None:
        """Check that the file has not changed.

        Raises:
            DatasetError: it was modified or replaced.
        """
        if _fingerprint(self.file, self.path) != self.fingerprint:
            raise DatasetError(self.file, 0, "changed while it was being read")

    def records(
        self,
        is_used: Callable[[str], bool] = lambda _column: True,
        undecoded_columns: set[str] | None = None,
    ) -> RecordIterator:
        """Every record with its line number.

        Args:
            is_used: whether a column is used; in unused columns, undecodable cells are dropped.
            undecoded_columns: receives the names of columns with dropped cells.

        Raises:
            DatasetError: the file cannot be read, or its content does not fit its suffix.
        """
        try:
            with _open_decompressed(self.path) as handle:
                suffix = Path(self.path.name.lower().removesuffix(".gz")).suffix
                if suffix == ".parquet":
                    converter = CellConverter(
                        is_used, set() if undecoded_columns is None else undecoded_columns
                    )
                    yield from parquet_rows(self.file, handle, converter)
                    return
                _reject_binary(self.file, handle)
                yield from (_read_csv if suffix in (".csv", ".tsv") else _read_jsonl)(
                    self.file, handle
                )
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DatasetError(self.file, 0, "the gzip data is damaged or truncated") from None
        except OSError as error:
            raise DatasetError(self.file, 0, _describe_os_error(error)) from error


def find_sources(path_or_pattern: str) -> tuple[Source, ...]:
    """The file of that path, or the files that match a pattern such as ``inbox/*.jsonl``.

    Raises:
        DatasetError: there is none.
    """
    if not glob.has_magic(path_or_pattern) or os.path.lexists(path_or_pattern):
        return (Source.from_path(Path(path_or_pattern)),)
    paths = sorted(path for path in map(Path, _expand_pattern(path_or_pattern)) if path.is_file())
    if not paths:
        raise DatasetError(path_or_pattern, 0, "no file matches the pattern")
    if len(paths) == 1:
        return (Source.from_path(paths[0]),)
    # Lines repeat between files, so prefix ids with the file; relative to the common folder, so that
    # they do not depend on the working directory.
    root = os.path.commonpath([path.absolute().parent for path in paths])
    return tuple(
        Source.from_path(path, id_prefix=f"{path.absolute().relative_to(root).as_posix()}:")
        for path in paths
    )


def _expand_pattern(pattern: str) -> Iterator[str]:
    """The paths that match the pattern.

    Raises:
        DatasetError: the search covers too many folders; glob itself has no limit.
    """
    started = time.monotonic()
    root, magic, rest = _split_pattern(pattern)
    max_depth = None if "**" in magic + rest else rest.count("/")
    for searched, (folder, subfolders, _) in enumerate(os.walk(root or "."), 1):
        if searched > _MAX_FOLDERS or time.monotonic() - started > _MAX_SEARCH_SECONDS:
            why = f"the pattern searches over {searched - 1:,} folders; make it more specific"
            raise DatasetError(pattern, 0, why)
        below = os.path.relpath(folder, root or ".")
        if max_depth is not None and (0 if below == "." else below.count("/") + 1) >= max_depth:
            subfolders.clear()
    yield from glob.iglob(pattern, recursive=True)  # noqa: PTH207  (the pattern may be absolute)


def _split_pattern(pattern: str) -> tuple[str, str, str]:
    """The folder before the first part with a wildcard, that part, and the rest."""
    parts = pattern.split("/")
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    before = "/".join(parts[:first]) + "/" if first else ""
    return before, parts[first], "/".join(["", *parts[first + 1 :]])


def _fingerprint(file: str, path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(file, 0, _describe_os_error(error)) from None
    except ValueError:
        raise DatasetError(file, 0, "no such file") from None
    if stat.S_ISDIR(status.st_mode):
        raise DatasetError(file, 0, "is a folder; name a file, or a pattern such as inbox/*.jsonl")
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(file, 0, "is not a regular file; use - to read from a pipe")
    return status.st_size, status.st_mtime_ns, status.st_ino


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read: {(error.strerror or str(error)).lower()}"


@contextmanager
def _open_decompressed(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the file, decompressed if its first two bytes are those of gzip."""
    with path.open("rb") as handle:
        if handle.peek(2)[:2] == _GZIP:
            with gzip.open(handle) as decompressed:
                yield cast("BinaryIO", decompressed)
        else:
            yield handle


def _reject_binary(file: str, handle: BinaryIO) -> None:
    """Name an unsupported format, where otherwise the first line would be invalid text."""
    start = cast("BufferedReader", handle).peek(8)
    for magic, description in _UNSUPPORTED_FORMATS.items():
        if start.startswith(magic):
            raise DatasetError(file, 0, f"this is {description}")


def _lines(handle: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line with its number; a longer one is cut off just beyond ``MAX_LINE``."""
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
    """The rows below the header. Broken quoting ends the file, as the next row cannot be found."""
    # A global limit of the csv module, by default 128 KiB.
    csv.field_size_limit(MAX_LINE)
    lines = _decode_lines(file, handle)
    head, delimiter = _detect_delimiter(file, lines)
    reader = csv.reader(chain(head, lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Drop the module's advice, which is about Python's open().
            raise DatasetError(file, line, f"not CSV: {str(error).partition(' - ')[0]}") from None
        if cells is None:
            return
        if not cells:
            continue
        if not header:
            header = cells
            if repeated := [cell for cell, count in Counter(header).items() if count > 1]:
                raise DatasetError(file, line, f"the column {repeated[0]!r} appears twice")
        elif len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        else:
            why = f"{len(cells)} cells, and the header has {len(header)}"
            yield line, DatasetError("", 0, why)


def _detect_delimiter(file: str, lines: Iterator[str]) -> tuple[list[str], str]:
    """The lines up to the header, and its delimiter, which spreadsheets choose by country.

    A line ``sep=;``, which some programs write, is replaced by an empty one.

    Raises:
        DatasetError: the header has several delimiters.
    """
    head: list[str] = []
    for line in lines:
        head.append(line)
        if match := _SEP_LINE.fullmatch(line.strip()):
            head[-1] = "\n"
            return head, match[1]
        if line.strip():
            break
    header = _QUOTED_CELL.sub("", head[-1] if head else "")
    delimiters = [delimiter for delimiter in _DELIMITERS if delimiter in header]
    if len(delimiters) > 1:
        names = " and by ".join(_DELIMITERS[delimiter] for delimiter in delimiters)
        why = f"the header is divided by {names}; put a name that has one of them in quotes"
        raise DatasetError(file, len(head), why)
    return head, delimiters[0] if delimiters else ","


def _decode_lines(file: str, handle: BinaryIO) -> Iterator[str]:
    for number, line in _lines(handle):
        if len(line) > MAX_LINE:
            raise DatasetError(file, number, _line_too_long().why)
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise DatasetError(file, number, describe_utf8_error(error)) from None
