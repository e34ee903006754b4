"""A benchmark's published files, found below a folder and read as they are."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon_batch.dataset.source import Source
from archon_batch.errors import DatasetError
from archon_batch.evaluation import Part, Record, Records


@dataclass(frozen=True, slots=True)
class Published:
    """What was read of them."""

    records: Records
    #: The SHA-256 of each file, in hex, by its name below the folder.
    digests: Mapping[str, str]


def published(path: Path, parts: Sequence[Part], given: Mapping[str, Path]) -> Published:
    """The records of a benchmark's parts.

    Args:
        path: the folder they are in, or the file of the first part; the other parts are then looked
            for beside it.
        parts: what is looked for.
        given: files for parts, named one by one.

    Raises:
        DatasetError: a part that is needed is not there, or a file is not what its name says.
    """
    folder = path if path.is_dir() else path.parent
    named = dict(given) if path.is_dir() else {parts[0].name: path, **given}
    records: dict[str, Sequence[Record]] = {}
    digests: dict[str, str] = {}
    for part in parts:
        files = [named[part.name]] if part.name in named else _found(folder, part)
        if part.needed and not files:
            wanted = " or ".join(part.patterns)
            raise DatasetError(str(path), 0, f"no {part.name}: expected {wanted} below it")
        of_part: list[Record] = []
        for file in files:
            name = _name(file, folder)
            try:
                of_part += _read(file, name, part)
                digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                why = f"cannot be read: {(error.strerror or str(error)).lower()}"
                raise DatasetError(name, 0, why) from None
        if part.needed and not of_part:
            raise DatasetError(str(files[0]), 0, "no records")
        records[part.name] = of_part
    return Published(records, digests)


def _found(folder: Path, part: Part) -> list[Path]:
    """The files of the first pattern that fits any, or of all patterns, in the order of names."""
    files: list[Path] = []
    for pattern in part.patterns:
        files += sorted(file for file in folder.glob(pattern) if file.is_file())
        if files and not part.every:
            break
    return files


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _read(file: Path, name: str, part: Part) -> Iterator[Record]:
    suffix = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix == "json":
        yield from _json(file, name)
    elif suffix == "csv" and part.columns:
        yield from _headless(file, name, part.columns)
    else:
        yield from _rows(file, name)


def _rows(file: Path, name: str) -> Iterator[Record]:
    for line, found in Source.of(file, file=name).records():
        if isinstance(found, DatasetError):
            raise DatasetError(name, line, found.why)
        yield Record(name, line, _loaded(found, name, line) if isinstance(found, bytes) else found)


def _json(file: Path, name: str) -> Iterator[Record]:
    """A list of objects, an object of objects by their places, or one object alone."""
    Source.of(file, file=name)
    found = _decoded(file.read_bytes(), name, 0)
    if isinstance(found, dict) and found and all(isinstance(one, dict) for one in found.values()):
        found = list(found.values())
    for place, one in enumerate(found if isinstance(found, list) else [found], start=1):
        if not isinstance(one, dict):
            raise DatasetError(name, place, f"expected an object, found {one!r:.60}")
        yield Record(name, place, one)


def _headless(file: Path, name: str, columns: Sequence[str]) -> Iterator[Record]:
    Source.of(file, file=name)
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            for place, cells in enumerate(reader, start=1):
                if len(cells) != len(columns):
                    why = f"{len(cells)} cells; expected {', '.join(columns)}, without a header"
                    raise DatasetError(name, reader.line_num, why)
                yield Record(name, place, dict(zip(columns, cells, strict=True)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(name, 0, f"not CSV: {error}") from None


def _loaded(line: bytes, name: str, number: int) -> Mapping[str, Any]:
    found = _decoded(line, name, number)
    if not isinstance(found, dict):
        raise DatasetError(name, number, f"expected an object, found {found!r:.60}")
    return found


def _decoded(data: bytes, name: str, line: int) -> Any:  # noqa: ANN401
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(name, line, f"not JSON: {error}") from None
