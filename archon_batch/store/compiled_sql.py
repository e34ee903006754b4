"""Statements that are compiled once per engine and then run by the driver itself.

SQLAlchemy's work for each execution of a statement would be most of the ledger's cost per call. The
driver's exceptions pass through; ``Database`` translates them.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import starmap
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine

#: Makes a statement; the argument says whether it is for SQLite.
StatementBuilder = Callable[[bool], sa.Executable]
#: A row of a result, with its columns as attributes.
ResultRow = Any

_STATEMENT_CACHE: "WeakKeyDictionary[Engine, dict[StatementBuilder, _CompiledStatement]]" = (
    WeakKeyDictionary()
)


@dataclass(slots=True)
class _CompiledStatement:
    sql: str
    #: Turns a row's parameters into what the driver takes: a sequence or a mapping.
    to_parameters: Callable[[Mapping[str, Any]], Any]
    #: Makes a result row from columns; set once the driver has named the columns.
    row_type: Callable[..., ResultRow] | None = None

    @classmethod
    def from_statement(cls, statement: sa.Executable, dialect: Dialect) -> "_CompiledStatement":
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        names = tuple(compiled.positiontup or compiled.binds)
        if not compiled.positiontup:
            # Postgres's driver takes named parameters, accepts times, and ignores other keys.
            return cls(str(compiled), lambda row: row)
        times = [
            position
            for position, name in enumerate(names)
            if isinstance(compiled.binds[name].type, sa.DateTime)
        ]
        pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

        def with_times_as_text(row: Mapping[str, Any]) -> Sequence[Any]:
            values = list(pick(row))
            for position in times:
                values[position] = _sqlite_timestamp(values[position])
            return values

        return cls(str(compiled), with_times_as_text if times else pick)


def execute_sql(connection: Connection, sql: str) -> None:
    """Run a statement without parameters and without a result."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(sql)


def execute_many(
    connection: Connection, build: StatementBuilder, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Run the statement once for each row of parameters."""
    if rows:
        compiled = _get_compiled(connection, build)
        with closing(connection.connection.cursor()) as cursor:
            cursor.executemany(compiled.sql, [compiled.to_parameters(row) for row in rows])


def fetch_rows(
    connection: Connection, build: StatementBuilder, **values: object
) -> Sequence[ResultRow]:
    """Run a query and return its rows as the driver has them: SQLite's times are text."""
    compiled = _get_compiled(connection, build)
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(compiled.sql, compiled.to_parameters(values))
        rows = cursor.fetchall()
        if not rows:
            return rows
        if compiled.row_type is None:
            compiled.row_type = _make_row_type([column[0] for column in cursor.description or ()])
    return list(starmap(compiled.row_type, rows))


def json_param(values: Iterable[tuple[object, ...]]) -> str:
    """Encode a list of tuples, without duplicates, as one parameter for ``where_in``."""
    return orjson.dumps(list(dict.fromkeys(values))).decode()


def where_in(
    query: sa.Select[*tuple[Any, ...]],
    columns: Sequence[sa.ColumnElement[Any]],
    name: str,
    *,
    is_sqlite: bool,
) -> sa.Select[*tuple[Any, ...]]:
    """Restrict the query to rows whose columns equal a tuple of the JSON parameter ``name``.

    It is a join, because SQLite uses only the first column of ``(a, b) IN (SELECT ...)`` for its
    index lookup.
    """
    text = sa.bindparam(name, type_=sa.Text)
    if is_sqlite:
        each = sa.func.json_each(text).table_valued("value", name="pairs")
        as_text = as_integer = "json_extract(pairs.value, '$[{}]')"
    else:
        pairs = sa.func.json_array_elements(sa.cast(text, sa.JSON))
        each = pairs.table_valued("value", name="pairs")
        as_text, as_integer = "pairs.value->>{}", "CAST(pairs.value->>{} AS INTEGER)"
    return query.select_from(each).where(
        *(
            column
            == sa.literal_column(
                (as_integer if isinstance(column.type, sa.Integer) else as_text).format(position)
            )
            for position, column in enumerate(columns)
        )
    )


def _get_compiled(connection: Connection, build: StatementBuilder) -> _CompiledStatement:
    statements = _STATEMENT_CACHE.setdefault(connection.engine, {})
    compiled = statements.get(build)
    if compiled is None:
        dialect = connection.dialect
        compiled = statements[build] = _CompiledStatement.from_statement(
            build(dialect.name == "sqlite"), dialect
        )
    return compiled


def _make_row_type(names: Sequence[str]) -> Callable[..., ResultRow]:
    return namedtuple("ResultRow", names, rename=True)  # noqa: PYI024  (the types are unknown)


@lru_cache(maxsize=256)
def _sqlite_timestamp(time: datetime | None) -> str | None:
    """Format a time as SQLAlchemy does for SQLite, which has no type for it."""
    return None if time is None else time.replace(tzinfo=None).isoformat(" ", "microseconds")
