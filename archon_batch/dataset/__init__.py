"""A dataset: rows from a file, read twice and never held, so that a million are no burden.

The first reading checks all of it, so that nothing is stored of a dataset that is wrong somewhere;
the second hands out the rows.
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
        #: As it was given: a path, a pattern, or ``-``.
        self.name = name
        #: The rows that ``check`` counted, and those of them that it could not accept.
        self.count = self.rejected = 0
        self._sources = sources
        self._options = options
        self._template = None if options.template is None else Template.parse(options.template)
        #: Empty before ``check``.
        self._digest = ""
        self._repeated: frozenset[int] = frozenset()
        #: Columns of which bytes that are no text were left out, after ``check``.
        self.undecoded_columns: set[str] = set()

    @classmethod
    @contextmanager
    def open(cls, path: str | Path, options: ReadOptions = _DEFAULT_OPTIONS) -> Iterator["Dataset"]:
        """The dataset at a path, of a pattern such as ``inbox/*.jsonl``, or of ``-``.

        Standard input is JSON Lines. It can be read once only, so it is kept in a temporary file.

        Raises:
            DatasetError: there is no such file.
            SettingsError: the template cannot be used.
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
        """Rows that the program makes, as a dataset of that name; they wait in a temporary file.

        Raises:
            DatasetError: there are none.
        """
        with NamedTemporaryFile() as spool:
            spool.writelines(f"{_canonical(row)}\n".encode() for row in rows)
            spool.flush()
            yield cls(name, (Source.from_path(Path(spool.name), file=name),), _DEFAULT_OPTIONS)

    def includes_file(self, path: Path) -> bool:
        """Whether the path, by whatever name, is one of its files."""
        return path.exists() and any(path.samefile(source.path) for source in self._sources)

    @property
    def digest(self) -> str:
        """The SHA-256, in hex, of all that makes the rows; alike rows have alike digests."""
        if not self._digest:
            self.check()
        return self._digest

    def check(self) -> int:
        """Read everything, and return how many rows there are.

        Raises:
            DatasetError: a row cannot be accepted, and is not to be skipped; a file cannot be
                read; there are no rows; or the file changed while it was read.
        """
        digest, ids, self.count, self.rejected = hashlib.sha256(), _IdHashes(), 0, 0
        wrong = _RejectedRows()
        try:
            for source, row in self._checked_rows():
                self.count += 1
                self.rejected += row.reason is not None
                if row.reason is not None and not self._options.skip_bad_rows:
                    wrong.add(source.file, row.line, row.reason)
                    continue
                ids.add(row.id)
                messages = [[m.role, m.content] for m in row.question.messages]
                digest.update(_canonical([row.id, messages, row.extras, row.reason]).encode())
        except DatasetError as error:
            # The file ends here; what was found before is told before.
            wrong.raise_errors(error)
            raise
        wrong.raise_errors()
        if not self.count:
            file = self._sources[0].file if len(self._sources) == 1 else self.name
            raise DatasetError(file, 0, "no rows")
        self._repeated = ids.repeated()
        if self._repeated:
            self.rejected = sum(row.reason is not None for _, row in self._unique_rows(wrong))
            wrong.raise_errors()
        self._digest = digest.hexdigest()
        return self.count

    def rows(self) -> Iterator[Row]:
        """Every row in order; what is not checked is checked first.

        Raises:
            DatasetError: as ``check`` does; also when the file is no longer the one checked.
        """
        if not self._digest:
            self.check()
        wrong = _RejectedRows()
        for _, row in self._unique_rows(wrong):
            wrong.raise_errors()
            yield row

    def _unique_rows(self, rejected_rows: "_RejectedRows") -> Iterator[tuple[Source, Row]]:
        """Every row with its source; one that has the id of an earlier row is a bad one."""
        seen: dict[str, tuple[Source, int]] = {}
        for source, row in self._checked_rows():
            key, here = _normalized_id(row.id), (source, row.line)
            first = seen.setdefault(key, here) if hash(key) in self._repeated else here
            if first is here:
                yield source, row
                continue
            where = "" if first[0] is source else f" of {first[0].file}"
            why = f"id {row.id!r} is on line {first[1]}{where} too"
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
        reading, template = self._options, self._template
        for source in self._sources:
            for line, record in source.records(self._is_used_column, self.undecoded_columns):
                yield source, read_row(record, line, source.id_prefix, reading, template)

    def _is_used_column(self, column: str) -> bool:
        """Whether something asks for the column: what cannot be read there is no row."""
        reading = self._options
        if self._template is not None:
            return column == reading.id_field or column in self._template.keys
        return column in (reading.id_field, reading.prompt_field, "messages")


class _RejectedRows:
    """What rows cannot be accepted: the same words once, with the lines that they are of."""

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
        """Refuse the rows, if there is any; ``last`` is what ended the reading.

        Raises:
            DatasetError: the first, with the others.
        """
        if not self._lines:
            return
        errors = [DatasetError(file, lines[0], self._message(file, why, lines))
                  for (file, why), lines in self._lines.items()]  # fmt: skip
        raise combine_errors([*errors, *([last] if last else [])], self._omitted_errors) from None

    def _message(self, file: str, why: str, lines: Sequence[int]) -> str:
        first, *others = lines
        del first
        if not others:
            return why
        beyond = self._omitted_lines[file, why]
        more = f" and {beyond:,} more" if beyond else ""
        return f"{why}; also on line{'s' if len(others) > 1 or beyond else ''} {', '.join(map(str, others))}{more}"


class _IdHashes:
    """The ids so far, in eight bytes each: which are there twice is looked for at the end.

    Different ids may have the same hash, so a hash that is there twice is a suspicion only.
    """

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(256)]

    def add(self, text: str) -> None:
        number = hash(_normalized_id(text))
        self._hashes[number & 255].append(number)

    def repeated(self) -> frozenset[int]:
        """The hashes that are there more than once."""
        return frozenset(
            number
            for hashes in self._hashes
            for number, times in Counter(hashes).items()
            if times > 1
        )


def _normalized_id(text: str) -> str:
    """The id as it is compared: an accent may be written in two ways."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
