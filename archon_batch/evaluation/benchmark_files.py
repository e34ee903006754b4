"""Finds and reads the published files of a benchmark."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon_batch.dataset.source import Source
from archon_batch.errors import DatasetError
from archon_batch.evaluation.benchmarks.benchmark import BenchmarkRecords, FileSet
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord


@dataclass(frozen=True, slots=True)
class BenchmarkFiles:
    """The records of a benchmark, and digests of its files."""

    records: BenchmarkRecords
    #: The SHA-256 of each file, in hex, by its name below the folder.
    digests: Mapping[str, str]


def read_benchmark_files(
    path: Path, parts: Sequence[FileSet], part_files: Mapping[str, Path]
) -> BenchmarkFiles:
    """Read the file sets of a benchmark.

    Args:
        path: the folder of the files, or the file of the first file set; the other file sets are
            then searched in the folder of that file.
        parts: what is looked for.
        part_files: files for parts, named one by one.

    Raises:
        DatasetError: a required file set is missing, or a file is not in the format of its name.
    """
    folder = path if path.is_dir() else path.parent
    named = dict(part_files) if path.is_dir() else {parts[0].name: path, **part_files}
    records: dict[str, Sequence[BenchmarkRecord]] = {}
    digests: dict[str, str] = {}
    for part in parts:
        files = [named[part.name]] if part.name in named else _find_files(folder, part)
        if part.required and not files:
            wanted = " or ".join(part.patterns)
            raise DatasetError(str(path), 0, f"no {part.name}: expected {wanted} below it")
        of_part: list[BenchmarkRecord] = []
        for file in files:
            name = _relative_name(file, folder)
            try:
                of_part += _read_file(file, name, part)
                digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                why = f"cannot be read: {(error.strerror or str(error)).lower()}"
                raise DatasetError(name, 0, why) from None
        if part.required and not of_part:
            raise DatasetError(str(files[0]), 0, "no records")
        records[part.name] = of_part
    return BenchmarkFiles(records, digests)


def _find_files(folder: Path, part: FileSet) -> list[Path]:
    """The files of the first pattern that matches any, or of all patterns, sorted by name."""
    files: list[Path] = []
    for pattern in part.patterns:
        files += sorted(file for file in folder.glob(pattern) if file.is_file())
        if files and not part.match_all_patterns:
            break
    return files


def _relative_name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _read_file(file: Path, name: str, part: FileSet) -> Iterator[BenchmarkRecord]:
    suffix = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix == "json":
        yield from _read_json(file, name)
    elif suffix == "csv" and part.columns:
        yield from _read_headerless_csv(file, name, part.columns)
    else:
        yield from _read_rows(file, name)


def _read_rows(file: Path, name: str) -> Iterator[BenchmarkRecord]:
    for line, value in Source.from_path(file, file=name).records():
        if isinstance(value, DatasetError):
            raise DatasetError(name, line, value.why)
        yield BenchmarkRecord(
            name, line, _parse_object(value, name, line) if isinstance(value, bytes) else value
        )


def _read_json(file: Path, name: str) -> Iterator[BenchmarkRecord]:
    """A list of objects, an object whose values are objects, or a single object."""
    Source.from_path(file, file=name)
    value = _parse_json(file.read_bytes(), name, 0)
    if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
        value = list(value.values())
    for position, item in enumerate(value if isinstance(value, list) else [value], start=1):
        if not isinstance(item, dict):
            raise DatasetError(name, position, f"expected an object, found {item!r:.60}")
        yield BenchmarkRecord(name, position, item)


def _read_headerless_csv(
    file: Path, name: str, columns: Sequence[str]
) -> Iterator[BenchmarkRecord]:
    Source.from_path(file, file=name)
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            for position, cells in enumerate(reader, start=1):
                if len(cells) != len(columns):
                    why = f"{len(cells)} cells; expected {', '.join(columns)}, without a header"
                    raise DatasetError(name, reader.line_num, why)
                yield BenchmarkRecord(name, position, dict(zip(columns, cells, strict=True)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(name, 0, f"not CSV: {error}") from None


def _parse_object(line: bytes, name: str, number: int) -> Mapping[str, Any]:
    value = _parse_json(line, name, number)
    if not isinstance(value, dict):
        raise DatasetError(name, number, f"expected an object, found {value!r:.60}")
    return value


def _parse_json(data: bytes, name: str, line: int) -> Any:  # noqa: ANN401
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(name, line, f"not JSON: {error}") from None
