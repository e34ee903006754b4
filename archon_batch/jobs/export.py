"""Writes the items of a job to a file: one line for each row, with its usage and cost."""

import csv
import gzip
import importlib
import importlib.util
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from decimal import Decimal
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from archon_batch.errors import InputError
from archon_batch.money import to_usd
from archon_batch.private_files import open_private
from archon_batch.store import ItemResult, Job, Store
from archon_batch.untrusted_text import escape_control_json

ExportRecord = Mapping[str, object]
#: The names of the columns, and the type of each.
ExportColumns = Mapping[str, str]
#: Writes the records to the file, and returns their number.
ExportWriter = Callable[[Iterable[ExportRecord], BinaryIO, ExportColumns], int]

#: Rows of a row group in a Parquet file.
_ROW_GROUP_SIZE = 1_000

_COLUMNS: ExportColumns = {
    "id": "text",
    "status": "text",
    "answer": "text",
    "reason": "text",
    "cost_usd": "money",
    "unpriced_calls": "count",
    "calls": "count",
    "cached_calls": "count",
    "attempts": "count",
    "prompt_tokens": "count",
    "completion_tokens": "count",
    "seconds": "seconds",
    "row": "json",
    "warnings": "json",
}
_COLUMNS_WITH_SCORES: ExportColumns = {**_COLUMNS, "scores": "json"}

#: Characters with which a formula begins in a spreadsheet, also in full width.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_encode = json.JSONEncoder(ensure_ascii=False).encode


def export_job(store: Store, job: Job, target: Path | None = None, *, force: bool = False) -> int:
    """Write the job's items in the dataset's order, and return their number.

    The file appears complete or not at all.

    Args:
        store: the job's database.
        job: the job; while it runs, items that are not final are ``open``.
        target: a file; its suffix selects the format: .jsonl, .jsonl.gz, .csv or .parquet. None
            or ``-`` is standard output, as JSON Lines.
        force: replace an existing file.

    Raises:
        InputError: the file cannot be written, or exists.
    """
    columns = _COLUMNS_WITH_SCORES if store.scores.metric_names(job.id) else _COLUMNS
    records = (_record(item, columns) for item in store.item_results.all(job.id))
    if target is None or str(target) == "-":
        return _to_stdout(records)
    write = validate_export_path(target, force=force)
    with atomic_file(target) as file:
        return write(records, file, columns)


def validate_export_path(target: Path, *, force: bool = False) -> ExportWriter:
    """Check that an export can be written there, and return the writer of its format.

    A command that exports at its end checks this first, before anything is paid.

    Raises:
        InputError: it cannot be written.
    """
    writer = _writer_for(target)
    validate_output_path(target, force=force)
    return writer


def validate_output_path(target: Path, *, force: bool = False) -> None:
    """Check that a file can be created there.

    Raises:
        InputError: it cannot, or it exists and ``force`` is False.
    """
    try:
        if target.is_dir():
            raise InputError(f"{target} is a folder; name a file in it")
        if not target.parent.is_dir():
            raise InputError(f"{target}: no such folder: {target.parent}")
        if target.exists() and not target.is_file():
            raise InputError(f"{target} is not a regular file")
        if target.exists() and not force:
            raise InputError(f"{target} exists; --force overwrites it")
        # Permissions are not enough: root may write to folders of read-only file systems.
        with TemporaryFile(dir=target.parent):
            pass
    except (OSError, ValueError) as error:
        raise InputError(f"{target}: {_write_error(error)}") from error


def _record(item: ItemResult, columns: ExportColumns) -> ExportRecord:
    usage = item.usage
    record = {
        "id": item.row_id,
        "status": item.status,
        "answer": item.answer,
        "reason": item.reason,
        "cost_usd": None if usage.unpriced_calls else to_usd(usage.cost),
        "unpriced_calls": usage.unpriced_calls,
        "calls": usage.calls,
        "cached_calls": usage.cached_calls,
        "attempts": usage.attempts,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": item.seconds,
        "row": dict(item.extras),
        "warnings": list(item.warnings),
        "scores": {metric: asdict(score) for metric, score in item.scores.items()},
    }
    return {name: record[name] for name in columns}


def _writer_for(target: Path) -> ExportWriter:
    for suffix, writer in _WRITERS.items():
        if target.name.lower().endswith(suffix):
            if writer is _write_parquet and importlib.util.find_spec("pyarrow") is None:
                raise InputError(f"{target}: Parquet needs: pip install archon-batch[parquet]")
            return writer
    raise InputError(f"{target}: the suffix says the format: {', '.join(_WRITERS)}")


def _write_error(error: OSError | ValueError) -> str:
    return f"cannot be written: {(getattr(error, 'strerror', None) or str(error)).lower()}"


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """A new file that replaces the target once it is complete on the disk.

    Only its owner may read it.

    Raises:
        InputError: it cannot be written.
    """
    part = target.with_name(f".archon-batch-{secrets.token_hex(8)}.part")
    try:
        with open_private(part, "xb") as file:
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise InputError(f"{target}: {_write_error(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _to_stdout(records: Iterable[ExportRecord]) -> int:
    rows = 0
    try:
        for record in records:
            sys.stdout.buffer.write(_json_line(record))
            rows += 1
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader closed the pipe. Python flushes again at exit, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise InputError(f"standard output: {_write_error(error)}") from error
    return rows


def _write_jsonl(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    del columns  # each line has the names
    rows = 0
    for record in records:
        file.write(_json_line(record))
        rows += 1
    return rows


def _write_jsonl_gz(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    # Without a timestamp, the same items give the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        return _write_jsonl(records, cast("BinaryIO", packed), columns)


def _json_line(record: ExportRecord) -> bytes:
    fields = (f'"{name}": {_json(value)}' for name, value in record.items())
    line = f"{{{', '.join(fields)}}}\n"
    # Some readers split lines at Unicode line separators, and terminals obey control characters.
    return escape_control_json(line).encode()


def _json(value: object) -> str:
    # Costs are decimal: a binary fraction cannot represent every nano-dollar.
    return f"{value:f}" if isinstance(value, Decimal) else _encode(value)


def _write_csv(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    """Comma-separated values (RFC 4180); the row's other keys are JSON, warnings are left out."""
    writer = csv.writer(_Utf8Writer(file))
    names = [name for name in columns if name != "warnings"]
    writer.writerow(names)
    rows = 0
    for record in records:
        writer.writerow([spreadsheet_cell(record[name]) for name in names])
        rows += 1
    return rows


class _Utf8Writer:
    """Writes text to a binary file, without closing it or buffering twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def spreadsheet_cell(value: object) -> str:
    """The value as text that no spreadsheet evaluates as a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    # Models write the answers, and a spreadsheet would run a formula in them.
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _write_parquet(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    pyarrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    types = {
        "text": pyarrow.string(),
        "money": pyarrow.decimal128(28, 9),
        "count": pyarrow.int64(),
        "seconds": pyarrow.float64(),
        "json": pyarrow.string(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    rows, remaining = 0, iter(records)
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(remaining, _ROW_GROUP_SIZE)):
            cells = [
                [_json(r[name]) if kind == "json" else r[name] for r in batch]
                for name, kind in columns.items()
            ]
            writer.write_table(pyarrow.table(cells, schema=schema))
            rows += len(batch)
    return rows


#: The writer for each suffix.
_WRITERS: Mapping[str, ExportWriter] = {
    ".jsonl": _write_jsonl,
    ".jsonl.gz": _write_jsonl_gz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
