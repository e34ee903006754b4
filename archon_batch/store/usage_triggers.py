"""Database triggers that keep the table ``usage_totals`` up to date with calls and attempts."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: What one row of either table adds to each total; ``{0}`` is the row.
_COST = "COALESCE({0}.cost, 0)"
_TOTALS = {
    "attempts": {
        "attempts": "1",
        "unpriced_calls": "CASE WHEN {0}.state = 'billed' AND {0}.cost IS NULL THEN 1 ELSE 0 END",
        "in_doubt": "CASE WHEN {0}.state = 'in_doubt' THEN 1 ELSE 0 END",
        "prompt_tokens": "COALESCE({0}.prompt_tokens, 0)",
        "completion_tokens": "COALESCE({0}.completion_tokens, 0)",
        "cost": _COST,
        "in_doubt_cost": "CASE WHEN {0}.state = 'in_doubt' THEN {0}.hold ELSE 0 END",
        "failed_cost": f"CASE WHEN {{0}}.outcome <> 'ok' THEN {_COST} ELSE 0 END",
        "reask_cost": f"CASE WHEN {{0}}.key LIKE '%.0' THEN 0 ELSE {_COST} END",
        "unused_cost": f"CASE WHEN {{0}}.unused THEN {_COST} ELSE 0 END",
    },
    "calls": {
        "calls": "1",
        "cached_calls": "CASE WHEN {0}.cached THEN 1 ELSE 0 END",
        "failed_calls": "CASE WHEN {0}.failure IS NULL THEN 0 ELSE 1 END",
        "cache_saved": "COALESCE({0}.cache_saved, 0)",
    },
}
_TOTAL_COLUMNS = [total for totals in _TOTALS.values() for total in totals]
_KEY_COLUMNS = ("job_id", "layer", "component", "kind", "model")


def create_triggers(connection: Connection) -> None:
    create = _sqlite_triggers if connection.dialect.name == "sqlite" else _postgres_triggers
    for table, totals in _TOTALS.items():
        for statement in create(table, totals):
            connection.execute(sa.text(statement))


def _statements(totals: dict[str, str]) -> dict[str, list[str]]:
    """The statements after each kind of change. The writer of the change holds the job's lock."""

    def update(key_row: str, *signed_rows: tuple[str, str]) -> str:
        changes = ", ".join(
            f"{name} = {name} "
            + " ".join(f"{sign} ({totals[name].format(row)})" for sign, row in signed_rows)
            for name in totals
        )
        key = " AND ".join(f"{name} = {key_row}.{name}" for name in _KEY_COLUMNS)
        return f"UPDATE usage_totals SET {changes} WHERE {key}"  # noqa: S608

    key = ", ".join(f"NEW.{name} AS {name}" for name in _KEY_COLUMNS)
    same_key = " AND ".join(f"t.{name} = k.{name}" for name in _KEY_COLUMNS)
    insert = (
        f"INSERT INTO usage_totals ({', '.join((*_KEY_COLUMNS, *_TOTAL_COLUMNS))}) "  # noqa: S608
        f"SELECT {', '.join((*(f'k.{name}' for name in _KEY_COLUMNS), *('0' for _ in _TOTAL_COLUMNS)))} "
        f"FROM (SELECT {key}) AS k "
        f"WHERE NOT EXISTS (SELECT 1 FROM usage_totals AS t WHERE {same_key})"
    )
    return {
        "INSERT": [insert, update("NEW", ("+", "NEW"))],
        "UPDATE": [update("NEW", ("+", "NEW"), ("-", "OLD"))],
        "DELETE": [update("OLD", ("-", "OLD"))],
    }


def _sqlite_triggers(table: str, totals: dict[str, str]) -> Iterator[str]:
    for event, statements in _statements(totals).items():
        name = f"{table}_{event.lower()}_usage_totals"
        body = "; ".join(statements)
        yield f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {body}; END"


def _postgres_triggers(table: str, totals: dict[str, str]) -> Iterator[str]:
    branches = " ".join(
        f"IF TG_OP = '{event}' THEN {'; '.join(statements)}; END IF;"
        for event, statements in _statements(totals).items()
    )
    name = f"{table}_usage_totals"
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {branches} RETURN NULL; END $$"
    )
    yield (
        f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {name}()"
    )
