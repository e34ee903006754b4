"""Statements that are compiled once an engine, and then run by the driver itself.

What SQLAlchemy works out for each execution of a statement is most of what the ledger of a call
would cost. What the driver raises leaves as it is; ``Database`` translates both.
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

#: Makes a statement; on SQLite, or not.
StatementBuilder = Callable[[bool], sa.Executable]
#: A row of a query, whose columns are its attributes.
ResultRow = Any

_STATEMENT_CACHE: "WeakKeyDictionary[Engine, dict[StatementBuilder, _CompiledStatement]]" = (
    WeakKeyDictionary()
)


@dataclass(slots=True)
class _CompiledStatement:
    sql: str
    #: A row's parameters as the driver takes them, by place or by name.
    to_parameters: Callable[[Mapping[str, Any]], Any]
    #: Makes a record of columns; known once the driver has said their names.
    row_type: Callable[..., ResultRow] | None = None

    @classmethod
    def from_statement(cls, statement: sa.Executable, dialect: Dialect) -> "_CompiledStatement":
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        names = tuple(compiled.positiontup or compiled.binds)
        if not compiled.positiontup:
            # Postgres's driver takes all values as they are, and of a row just those it needs.
            return cls(str(compiled), lambda row: row)
        moments = [
            n for n, name in enumerate(names) if isinstance(compiled.binds[name].type, sa.DateTime)
        ]
        pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

        def values(row: Mapping[str, Any]) -> Sequence[Any]:
            picked = list(pick(row))
            for n in moments:
                picked[n] = _sqlite_timestamp(picked[n])
            return picked

        return cls(str(compiled), values if moments else pick)


def execute_sql(connection: Connection, sql: str) -> None:
    """Have the driver run a statement without parameters or rows."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(sql)


def execute_many(
    connection: Connection, build: StatementBuilder, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Run the statement once for each row of its parameters."""
    if rows:
        compiled = _get_compiled(connection, build)
        with closing(connection.connection.cursor()) as cursor:
            cursor.executemany(compiled.sql, [compiled.to_parameters(row) for row in rows])


def fetch_rows(
    connection: Connection, build: StatementBuilder, **values: object
) -> Sequence[ResultRow]:
    """The rows of a query, as the driver has them: in SQLite moments are text."""
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
    """A parameter for ``among``: one, however many there are; what is there twice counts once."""
    return orjson.dumps(list(dict.fromkeys(values))).decode()


def where_in(
    query: sa.Select[*tuple[Any, ...]],
    columns: Sequence[sa.ColumnElement[Any]],
    name: str,
    *,
    sqlite: bool,
) -> sa.Select[*tuple[Any, ...]]:
    """The query for a list, which is one parameter: each of it has what the columns are to be.

    It is joined, since SQLite looks up ``(a, b) IN (SELECT ...)`` by the first of them only.
    """
    text = sa.bindparam(name, type_=sa.Text)
    if sqlite:
        each = sa.func.json_each(text).table_valued("value", name="given")
        form = part = "json_extract(given.value, '$[{}]')"
    else:
        given = sa.func.json_array_elements(sa.cast(text, sa.JSON))
        each = given.table_valued("value", name="given")
        form, part = "given.value->>{}", "CAST(given.value->>{} AS INTEGER)"
    return query.select_from(each).where(
        *(
            column
            == sa.literal_column((part if isinstance(column.type, sa.Integer) else form).format(n))
            for n, column in enumerate(columns)
        )
    )


def _get_compiled(connection: Connection, build: StatementBuilder) -> _CompiledStatement:
    known = _STATEMENT_CACHE.setdefault(connection.engine, {})
    found = known.get(build)
    if found is None:
        dialect = connection.dialect
        found = known[build] = _CompiledStatement.from_statement(
            build(dialect.name == "sqlite"), dialect
        )
    return found


def _make_row_type(names: Sequence[str]) -> Callable[..., ResultRow]:
    return namedtuple("ResultRow", names, rename=True)  # noqa: PYI024  (of types nothing is known)


@lru_cache(maxsize=256)
def _sqlite_timestamp(moment: datetime | None) -> str | None:
    """As SQLAlchemy writes moments in SQLite, which has no type for them."""
    return None if moment is None else moment.replace(tzinfo=None).isoformat(" ", "microseconds")
