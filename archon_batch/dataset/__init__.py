"""A dataset: rows from files, streamed in constant memory.

It is read twice: the first pass checks every row, so that an invalid dataset stores nothing; the
second pass yields the rows.
"""

import hashlib
import json
import shutil
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from archon_batch.archon import Question
from archon_batch.dataset.row import ReadOptions, Row, read_row
from archon_batch.dataset.source import Source, find_sources
from archon_batch.dataset.template import Template
from archon_batch.errors import MAX_REPORTED, DatasetError, combine_errors

__all__ = ["Dataset", "ReadOptions", "Row", "Template"]

_DEFAULT_OPTIONS = ReadOptions()
_canonical = json.JSONEncoder(separators=(",", ":")).encode


class Dataset:
    """The rows of one file, of the files of a pattern, or of standard input."""

    def __init__(self, name: str, sources: Sequence[Source], options: ReadOptions) -> None:
        #: As the user wrote it: a path, a pattern, or ``-``.
        self.name = name
        #: All rows, and the rejected rows among them; set by ``check``.
        self.count = self.rejected = 0
        self._sources = sources
        self._options = options
        self._template = None if options.template is None else Template.parse(options.template)
        #: Set by ``check``: the digest, and the hashes of ids that occur more than once.
        self._digest = ""
        self._repeated: frozenset[int] = frozenset()
        #: Parquet columns of which cells with undecodable bytes were dropped; set by ``check``.
        self.undecoded_columns: set[str] = set()

    @classmethod
    @contextmanager
    def open(cls, path: str | Path, options: ReadOptions = _DEFAULT_OPTIONS) -> Iterator["Dataset"]:
        """Open a path, a pattern such as ``inbox/*.jsonl``, or ``-``.

        Standard input is JSON Lines. It is copied into a temporary file, to be read twice.

        Raises:
            DatasetError: there is no such file.
            SettingsError: the template is invalid.
        """
        name = str(path)
        if name != "-":
            yield cls(name, find_sources(name), options)
            return
        with NamedTemporaryFile() as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            yield cls(name, (Source.from_path(Path(spool.name), file="standard input"),), options)

    @classmethod
    @contextmanager
    def from_rows(cls, name: str, rows: Iterable[Mapping[str, object]]) -> Iterator["Dataset"]:
        """A dataset of rows from memory, which are written to a temporary file.

        Args:
            name: the dataset's name in errors.
            rows: objects that JSON can encode.
        """
        with NamedTemporaryFile() as spool:
            spool.writelines(f"{_canonical(row)}\n".encode() for row in rows)
            spool.flush()
            yield cls(name, (Source.from_path(Path(spool.name), file=name),), _DEFAULT_OPTIONS)

    def includes_file(self, path: Path) -> bool:
        """Whether the path leads to one of the dataset's files, also by another name."""
        return path.exists() and any(path.samefile(source.path) for source in self._sources)

    @property
    def digest(self) -> str:
        """The SHA-256 of all rows, in hex; equal rows give equal digests."""
        if not self._digest:
            self.check()
        return self._digest

    def check(self) -> int:
        """Read and check everything; returns the number of rows.

        Raises:
            DatasetError: a row is rejected and not skipped; a file cannot be read; there are no
                rows; or a file changed while it was read.
        """
        digest, ids, self.count, self.rejected = hashlib.sha256(), _IdHashes(), 0, 0
        rejected_rows = _RejectedRows()
        try:
            for source, row in self._checked_rows():
                self.count += 1
                self.rejected += row.reason is not None
                if row.reason is not None and not self._options.skip_bad_rows:
                    rejected_rows.add(source.file, row.line, row.reason)
                    continue
                ids.add(row.id)
                messages = [[m.role, m.content] for m in row.question.messages]
                digest.update(_canonical([row.id, messages, row.extras, row.reason]).encode())
        except DatasetError as error:
            # Reading ends here: report the rejected rows before this error.
            rejected_rows.raise_errors(error)
            raise
        rejected_rows.raise_errors()
        if not self.count:
            file = self._sources[0].file if len(self._sources) == 1 else self.name
            raise DatasetError(file, 0, "no rows")
        self._repeated = ids.repeated()
        if self._repeated:
            self.rejected = sum(
                row.reason is not None for _, row in self._unique_rows(rejected_rows)
            )
            rejected_rows.raise_errors()
        self._digest = digest.hexdigest()
        return self.count

    def rows(self) -> Iterator[Row]:
        """Every row in order; runs ``check`` first if it has not run yet.

        Raises:
            DatasetError: as ``check`` raises it; or a file changed since the check.
        """
        if not self._digest:
            self.check()
        rejected_rows = _RejectedRows()
        for _, row in self._unique_rows(rejected_rows):
            rejected_rows.raise_errors()
            yield row

    def _unique_rows(self, rejected_rows: "_RejectedRows") -> Iterator[tuple[Source, Row]]:
        """Every row with its source; a row with the id of an earlier row is rejected."""
        seen: dict[str, tuple[Source, int]] = {}
        for source, row in self._checked_rows():
            key, location = _normalized_id(row.id), (source, row.line)
            first = seen.setdefault(key, location) if hash(key) in self._repeated else location
            if first is location:
                yield source, row
                continue
            file = "" if first[0] is source else f" of {first[0].file}"
            why = f"id {row.id!r} is on line {first[1]}{file} too"
            if not self._options.skip_bad_rows:
                rejected_rows.add(source.file, row.line, why)
            row_id = f"line {source.id_prefix}{row.line}"
            question, reason = Question(row_id, ()), row.reason or why
            yield source, replace(row, id=row_id, question=question, reason=reason)

    def _checked_rows(self) -> Iterator[tuple[Source, Row]]:
        yield from islice(self._all_rows(), self._options.limit)
        for source in self._sources:
            source.check_unchanged()

    def _all_rows(self) -> Iterator[tuple[Source, Row]]:
        options, template = self._options, self._template
        for source in self._sources:
            for line, record in source.records(self._is_used_column, self.undecoded_columns):
                yield source, read_row(record, line, source.id_prefix, options, template)

    def _is_used_column(self, column: str) -> bool:
        """Whether the job uses the column: undecodable bytes in it reject the row."""
        options = self._options
        if self._template is not None:
            return column == options.id_field or column in self._template.keys
        return column in (options.id_field, options.prompt_field, "messages")


class _RejectedRows:
    """The errors of rejected rows; equal messages are merged, with a list of their lines."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}
        self._omitted_lines: Counter[tuple[str, str]] = Counter()
        self._omitted_errors = 0

    def add(self, file: str, line: int, why: str) -> None:
        key = (file, why)
        if key not in self._lines and len(self._lines) >= MAX_REPORTED:
            self._omitted_errors += 1
        elif len(lines := self._lines.setdefault(key, [])) < MAX_REPORTED:
            lines.append(line)
        else:
            self._omitted_lines[key] += 1

    def raise_errors(self, last: DatasetError | None = None) -> None:
        """Raise the collected errors, if there are any.

        Args:
            last: the error that ended reading.

        Raises:
            DatasetError: the first error, which carries the rest.
        """
        if not self._lines:
            return
        errors = [DatasetError(file, lines[0], self._message(file, why, lines))
                  for (file, why), lines in self._lines.items()]  # fmt: skip
        raise combine_errors([*errors, *([last] if last else [])], self._omitted_errors) from None

    def _message(self, file: str, why: str, lines: Sequence[int]) -> str:
        further = lines[1:]
        if not further:
            return why
        beyond = self._omitted_lines[file, why]
        more = f" and {beyond:,} more" if beyond else ""
        return f"{why}; also on line{'s' if len(further) > 1 or beyond else ''} {', '.join(map(str, further))}{more}"


class _IdHashes:
    """Hashes of all ids, in eight bytes each, to find repeated ids at the end.

    Different ids may have equal hashes, so a repeated hash is only a candidate.
    """

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(256)]

    def add(self, text: str) -> None:
        number = hash(_normalized_id(text))
        self._hashes[number & 255].append(number)

    def repeated(self) -> frozenset[int]:
        """The hashes that occur more than once."""
        return frozenset(
            number
            for hashes in self._hashes
            for number, times in Counter(hashes).items()
            if times > 1
        )


def _normalized_id(text: str) -> str:
    """The id in the Unicode normal form that is compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
