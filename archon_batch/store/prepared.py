"""Statements that are compiled once an engine, and then run by the driver as they are.

What SQLAlchemy works out for each execution of a statement is most of what the ledger of a call
would cost.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine, Row

#: Makes a statement; on SQLite, or not.
Build = Callable[[bool], sa.Executable]

_COMPILED: "WeakKeyDictionary[Engine, dict[Build, _Compiled]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    #: The parameters in their order, and what makes a value the driver's, if anything does.
    names: tuple[str, ...]
    binds: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    positional: bool

    @classmethod
    def of(cls, statement: sa.Executable, dialect: Dialect) -> "_Compiled":
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        names = tuple(compiled.positiontup or compiled.binds)
        binds = tuple(
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in names
        )
        return cls(str(compiled), names, binds, bool(compiled.positiontup))

    def values(self, row: Mapping[str, Any]) -> Any:  # noqa: ANN401  (as the driver takes them)
        made = [(bind(row[name]) if bind else row[name]) for name, bind in self.binds]
        return tuple(made) if self.positional else dict(zip(self.names, made, strict=True))


def execute(connection: Connection, build: Build, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run the statement once for each row of its parameters."""
    if rows:
        compiled = _compiled(connection, build)
        connection.exec_driver_sql(compiled.sql, [compiled.values(row) for row in rows])


def fetch(
    connection: Connection, build: Build, **values: object
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The rows of a query, as the driver has them: in SQLite moments are text."""
    compiled = _compiled(connection, build)
    return connection.exec_driver_sql(compiled.sql, compiled.values(values)).all()


def listed(values: Iterable[tuple[object, ...]]) -> str:
    """A parameter for ``among``: one, however many there are; what is there twice counts once."""
    return orjson.dumps(list(dict.fromkeys(values))).decode()


def among(
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


def _compiled(connection: Connection, build: Build) -> _Compiled:
    known = _COMPILED.setdefault(connection.engine, {})
    found = known.get(build)
    if found is None:
        dialect = connection.dialect
        found = known[build] = _Compiled.of(build(dialect.name == "sqlite"), dialect)
    return found
