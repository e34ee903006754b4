"""An export: the items of a job as a file, a row of the dataset a line, with its account."""

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
#: The fields of a row, and what is in them.
ExportColumns = Mapping[str, str]
#: Writes the records, and returns how many there were.
ExportWriter = Callable[[Iterable[ExportRecord], BinaryIO, ExportColumns], int]

#: Rows of a Parquet file that are written at once.
_BATCH = 1_000

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

#: What a spreadsheet takes for the beginning of a formula, also in full width.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_encode = json.JSONEncoder(ensure_ascii=False).encode


def export_job(store: Store, job: Job, target: Path | None = None, *, force: bool = False) -> int:
    """Write the job's items in the dataset's order, and return how many there are.

    A file is there whole or not at all, whatever befalls the writing.

    Args:
        store: where the items are.
        job: whose items they are. It may be under way; what has no end yet is ``open``.
        target: a file, whose suffix says the format: .jsonl, .jsonl.gz, .csv or .parquet. None
            or ``-`` is standard output, as JSON Lines.
        force: replace a file that is there.

    Raises:
        InputError: the file cannot be written, or is there already.
    """
    columns = _COLUMNS_WITH_SCORES if store.scores.metric_names(job.id) else _COLUMNS
    records = (_record(ending, columns) for ending in store.item_results.all(job.id))
    if target is None or str(target) == "-":
        return _to_stdout(records)
    write = validate_export_path(target, force=force)
    with atomic_file(target) as file:
        return write(records, file, columns)


def validate_export_path(target: Path, *, force: bool = False) -> ExportWriter:
    """Check that an export could be written there, and return what writes its format.

    A command that exports at its end asks before it begins: then nothing has been paid yet.

    Raises:
        InputError: it could not.
    """
    writer = _writer_for(target)
    validate_output_path(target, force=force)
    return writer


def validate_output_path(target: Path, *, force: bool = False) -> None:
    """Check that a file can be put there.

    Raises:
        InputError: it cannot, or there is one already and ``force`` does not replace it.
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
        # To be asked is not enough: root may write in folders where nothing can be made.
        with TemporaryFile(dir=target.parent):
            pass
    except (OSError, ValueError) as error:
        raise InputError(f"{target}: {_write_error(error)}") from error


def _record(ending: ItemResult, columns: ExportColumns) -> ExportRecord:
    account = ending.usage
    record = {
        "id": ending.row_id,
        "status": ending.status,
        "answer": ending.answer,
        "reason": ending.reason,
        "cost_usd": None if account.unpriced_calls else to_usd(account.cost),
        "unpriced_calls": account.unpriced_calls,
        "calls": account.calls,
        "cached_calls": account.cached_calls,
        "attempts": account.attempts,
        "prompt_tokens": account.prompt_tokens,
        "completion_tokens": account.completion_tokens,
        "seconds": ending.seconds,
        "row": dict(ending.extras),
        "warnings": list(ending.warnings),
        "scores": {metric: asdict(score) for metric, score in ending.scores.items()},
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
    """A file beside the target, which takes its place once all of it is on the disk.

    Its owner alone may read it.

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
        # Whoever read has had enough. Python flushes once more at its end, and must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise InputError(f"standard output: {_write_error(error)}") from error
    return rows


def _write_jsonl(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    del columns  # a line names its own
    rows = 0
    for record in records:
        file.write(_json_line(record))
        rows += 1
    return rows


def _write_jsonl_gz(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    # Without the moment it was made, the same items make the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        return _write_jsonl(records, cast("BinaryIO", packed), columns)


def _json_line(record: ExportRecord) -> bytes:
    members = (f'"{name}": {_json(value)}' for name, value in record.items())
    line = f"{{{', '.join(members)}}}\n"
    # Some readers of lines would cut a row at Unicode's line ends, and a terminal obeys others.
    return escape_control_json(line).encode()


def _json(value: object) -> str:
    # Money is written digit by digit: a binary fraction would not hold all of its nano-dollars.
    return f"{value:f}" if isinstance(value, Decimal) else _encode(value)


def _write_csv(records: Iterable[ExportRecord], file: BinaryIO, columns: ExportColumns) -> int:
    """Comma-separated, as RFC 4180 has it; the row's other keys are JSON, the notes are left out."""
    writer = csv.writer(_Utf8Writer(file))
    names = [name for name in columns if name != "warnings"]
    writer.writerow(names)
    rows = 0
    for record in records:
        writer.writerow([spreadsheet_cell(record[name]) for name in names])
        rows += 1
    return rows


class _Utf8Writer:
    """Text into a file of bytes, which stays open and is not buffered twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def spreadsheet_cell(value: object) -> str:
    """The value as a cell that no spreadsheet runs."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    # A spreadsheet would run what looks like a formula, and answers are written by strangers.
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
    rows, left = 0, iter(records)
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(left, _BATCH)):
            cells = [
                [_json(r[name]) if kind == "json" else r[name] for r in batch]
                for name, kind in columns.items()
            ]
            writer.write_table(pyarrow.table(cells, schema=schema))
            rows += len(batch)
    return rows


#: Suffixes, and what writes such a file.
_WRITERS: Mapping[str, ExportWriter] = {
    ".jsonl": _write_jsonl,
    ".jsonl.gz": _write_jsonl_gz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
