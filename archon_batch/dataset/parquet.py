"""Reads Parquet rows as JSON values, which the database stores without change."""

import datetime as dt
import decimal
import importlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from archon_batch.dataset.row import RawRecord
from archon_batch.errors import DatasetError

#: Rows in memory at once.
_BATCH_ROWS = 256
#: Nanoseconds in a second and in a microsecond: Python's times have no nanoseconds.
_NANO, _MICRO = 1_000_000_000, 1_000


class _NotTextError(Exception):
    """Undecodable bytes, in a column that the job does not use."""


@dataclass(frozen=True, slots=True)
class CellConverter:
    """Converts the cells of a row to JSON values."""

    is_used: Callable[[str], bool]
    #: Receives the columns with dropped cells.
    undecoded_columns: set[str]

    def convert_row(self, cells: Mapping[str, object]) -> RawRecord:
        values: dict[str, object] = {}
        try:
            for column, cell in cells.items():
                try:
                    values[column] = self._convert(cell, column)
                except _NotTextError:
                    self.undecoded_columns.add(column)
        except DatasetError as error:
            return error
        return values

    def _convert(self, value: object, column: str) -> object:
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                if math.isinf(value):
                    raise DatasetError("", 0, f"{column}: infinity is no JSON number")
                # Tables use NaN for a missing number.
                return None if math.isnan(value) else value
            case list() | tuple():
                return [self._convert(inner, column) for inner in value]
            case dict():
                return {str(key): self._convert(inner, column) for key, inner in value.items()}
            case dt.date() | dt.time():
                return value.isoformat()
            case decimal.Decimal():
                return str(value)
            case bytes():
                return self._decode_text(value, column)
        raise DatasetError("", 0, f"{column}: a {type(value).__name__} cannot be written as JSON")

    def _decode_text(self, value: bytes, column: str) -> str:
        """Text that a program wrote with the type bytes."""
        try:
            if b"\0" not in value:
                return value.decode()
        except UnicodeDecodeError:
            pass
        if self.is_used(column):
            raise DatasetError("", 0, f"{column}: bytes that are no UTF-8 text")
        raise _NotTextError


def parquet_rows(
    file: str, handle: BinaryIO, converter: CellConverter
) -> Iterator[tuple[int, RawRecord]]:
    """The rows with their numbers from 1.

    Raises:
        DatasetError: it is no Parquet file, a column appears twice, or pyarrow is not installed.
    """
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise DatasetError(file, 0, "Parquet needs: pip install archon-batch[parquet]") from None
    line = 0
    try:
        opened = parquet.ParquetFile(handle)
        names = opened.schema_arrow.names
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            # In a mapping, the later column would silently replace the first.
            raise DatasetError(file, 0, f"the column {repeated[0]!r} appears twice")
        for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
            columns = [_column_values(pyarrow, column) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                line += 1
                yield line, converter.convert_row(dict(zip(names, cells, strict=True)))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise DatasetError(file, 0, f"not a Parquet file that can be read: {first}") from None


def _column_values(pyarrow: Any, column: Any) -> list[object]:  # noqa: ANN401
    """The column's values; pyarrow by itself converts no nanoseconds without pandas."""
    if "[ns" not in str(column.type):
        values: list[object] = column.to_pylist()
        return values
    return [_scalar_value(pyarrow, scalar) for scalar in column]


def _scalar_value(pyarrow: Any, scalar: Any) -> object:  # noqa: ANN401
    data_type = scalar.type
    if not scalar.is_valid:
        return None
    if pyarrow.types.is_timestamp(data_type) and data_type.unit == "ns":
        seconds, nanos = divmod(scalar.value, _NANO)
        timestamp = dt.datetime.fromtimestamp(seconds, dt.UTC)
        if data_type.tz is not None:
            timestamp = scalar.cast(pyarrow.timestamp("s", data_type.tz), safe=False).as_py()
        text = timestamp.replace(
            microsecond=0, tzinfo=timestamp.tzinfo if data_type.tz else None
        ).isoformat()
        return _with_nanos(text, nanos, "T")
    if pyarrow.types.is_time64(data_type) and data_type.unit == "ns":
        seconds, nanos = divmod(scalar.value, _NANO)
        hour, rest = divmod(seconds, 3600)
        return _with_nanos(dt.time(hour, *divmod(rest, 60)).isoformat(), nanos, "")
    if pyarrow.types.is_struct(data_type):
        return {name: _scalar_value(pyarrow, scalar[name]) for name in scalar}
    if hasattr(scalar, "values") and pyarrow.types.is_nested(data_type):
        return [_scalar_value(pyarrow, inner) for inner in scalar.values]
    return scalar.as_py()


def _with_nanos(text: str, nanos: int, after: str) -> str:
    """ISO 8601 text with the necessary decimals of a second: none, six or nine."""
    if not nanos:
        return text
    digits = f"{nanos // _MICRO:06d}" if nanos % _MICRO == 0 else f"{nanos:09d}"
    at = text.index(after) + len("T00:00:00") if after else len("00:00:00")
    return f"{text[:at]}.{digits}{text[at:]}"
