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
from archon_batch.dataset.row import Reading, Row, read_row
from archon_batch.dataset.source import Source, sources
from archon_batch.dataset.template import Template
from archon_batch.errors import TOLD, DatasetError, together

__all__ = ["Dataset", "Reading", "Row", "Template"]

_PLAIN = Reading()
_canonical = json.JSONEncoder(separators=(",", ":")).encode


class Dataset:
    """The rows of one file, of the files of a pattern, or of standard input."""

    def __init__(self, name: str, sources: Sequence[Source], reading: Reading) -> None:
        #: As it was given: a path, a pattern, or ``-``.
        self.name = name
        #: The rows that ``check`` counted, and those of them that it could not accept.
        self.count = self.bad = 0
        self._sources = sources
        self._reading = reading
        self._template = None if reading.template is None else Template.parse(reading.template)
        #: Empty before ``check``.
        self._digest = ""
        self._repeated: frozenset[int] = frozenset()
        #: Columns of which bytes that are no text were left out, after ``check``.
        self.unread: set[str] = set()

    @classmethod
    @contextmanager
    def open(cls, path: str | Path, reading: Reading = _PLAIN) -> Iterator["Dataset"]:
        """The dataset at a path, of a pattern such as ``inbox/*.jsonl``, or of ``-``.

        Standard input is JSON Lines. It can be read once only, so it is kept in a temporary file.

        Raises:
            DatasetError: there is no such file.
            SettingsError: the template cannot be used.
        """
        name = str(path)
        if name != "-":
            yield cls(name, sources(name), reading)
            return
        with NamedTemporaryFile() as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            yield cls(name, (Source.of(Path(spool.name), file="standard input"),), reading)

    @classmethod
    @contextmanager
    def of(cls, name: str, rows: Iterable[Mapping[str, object]]) -> Iterator["Dataset"]:
        """Rows that the program makes, as a dataset of that name; they wait in a temporary file.

        Raises:
            DatasetError: there are none.
        """
        with NamedTemporaryFile() as spool:
            spool.writelines(f"{_canonical(row)}\n".encode() for row in rows)
            spool.flush()
            yield cls(name, (Source.of(Path(spool.name), file=name),), _PLAIN)

    def reads(self, path: Path) -> bool:
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
        digest, ids, self.count, self.bad = hashlib.sha256(), _Ids(), 0, 0
        wrong = _Wrong()
        try:
            for source, row in self._all():
                self.count += 1
                self.bad += row.reason is not None
                if row.reason is not None and not self._reading.skip_bad_rows:
                    wrong.add(source.file, row.line, row.reason)
                    continue
                ids.add(row.id)
                messages = [[m.role, m.content] for m in row.question.messages]
                digest.update(_canonical([row.id, messages, row.extras, row.reason]).encode())
        except DatasetError as error:
            # The file ends here; what was found before is told before.
            wrong.refuse(error)
            raise
        wrong.refuse()
        if not self.count:
            file = self._sources[0].file if len(self._sources) == 1 else self.name
            raise DatasetError(file, 0, "no rows")
        self._repeated = ids.repeated()
        if self._repeated:
            self.bad = sum(row.reason is not None for _, row in self._distinct(wrong))
            wrong.refuse()
        self._digest = digest.hexdigest()
        return self.count

    def rows(self) -> Iterator[Row]:
        """Every row in order; what is not checked is checked first.

        Raises:
            DatasetError: as ``check`` does; also when the file is no longer the one checked.
        """
        if not self._digest:
            self.check()
        wrong = _Wrong()
        for _, row in self._distinct(wrong):
            wrong.refuse()
            yield row

    def _distinct(self, wrong: "_Wrong") -> Iterator[tuple[Source, Row]]:
        """Every row with its source; one that has the id of an earlier row is a bad one."""
        seen: dict[str, tuple[Source, int]] = {}
        for source, row in self._all():
            key, here = _key(row.id), (source, row.line)
            first = seen.setdefault(key, here) if hash(key) in self._repeated else here
            if first is here:
                yield source, row
                continue
            where = "" if first[0] is source else f" of {first[0].file}"
            why = f"id {row.id!r} is on line {first[1]}{where} too"
            if not self._reading.skip_bad_rows:
                wrong.add(source.file, row.line, why)
            row_id = f"line {source.unnamed}{row.line}"
            question, reason = Question(row_id, ()), row.reason or why
            yield source, replace(row, id=row_id, question=question, reason=reason)

    def _all(self) -> Iterator[tuple[Source, Row]]:
        yield from islice(self._unbounded(), self._reading.limit)
        for source in self._sources:
            source.refuse_changed()

    def _unbounded(self) -> Iterator[tuple[Source, Row]]:
        reading, template = self._reading, self._template
        for source in self._sources:
            for line, record in source.records(self._asked, self.unread):
                yield source, read_row(record, line, source.unnamed, reading, template)

    def _asked(self, column: str) -> bool:
        """Whether something asks for the column: what cannot be read there is no row."""
        reading = self._reading
        if self._template is not None:
            return column == reading.id_field or column in self._template.keys
        return column in (reading.id_field, reading.prompt_field, "messages")


class _Wrong:
    """What rows cannot be accepted: the same words once, with the lines that they are of."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}
        self._more: Counter[tuple[str, str]] = Counter()
        self._beyond = 0

    def add(self, file: str, line: int, why: str) -> None:
        key = (file, why)
        if key not in self._lines and len(self._lines) >= TOLD:
            self._beyond += 1
        elif len(lines := self._lines.setdefault(key, [])) < TOLD:
            lines.append(line)
        else:
            self._more[key] += 1

    def refuse(self, last: DatasetError | None = None) -> None:
        """Refuse the rows, if there is any; ``last`` is what ended the reading.

        Raises:
            DatasetError: the first, with the others.
        """
        if not self._lines:
            return
        errors = [DatasetError(file, lines[0], self._words(file, why, lines))
                  for (file, why), lines in self._lines.items()]  # fmt: skip
        raise together([*errors, *([last] if last else [])], self._beyond) from None

    def _words(self, file: str, why: str, lines: Sequence[int]) -> str:
        first, *others = lines
        del first
        if not others:
            return why
        beyond = self._more[file, why]
        more = f" and {beyond:,} more" if beyond else ""
        return f"{why}; also on line{'s' if len(others) > 1 or beyond else ''} {', '.join(map(str, others))}{more}"


class _Ids:
    """The ids so far, in eight bytes each: which are there twice is looked for at the end.

    Different ids may have the same hash, so a hash that is there twice is a suspicion only.
    """

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(256)]

    def add(self, text: str) -> None:
        number = hash(_key(text))
        self._hashes[number & 255].append(number)

    def repeated(self) -> frozenset[int]:
        """The hashes that are there more than once."""
        return frozenset(
            number
            for hashes in self._hashes
            for number, times in Counter(hashes).items()
            if times > 1
        )


def _key(text: str) -> str:
    """The id as it is compared: an accent may be written in two ways."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
