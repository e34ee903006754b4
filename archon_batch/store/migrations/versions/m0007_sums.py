"""Sums: what a job's entries come to, kept by the database itself with every entry."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

#: What a row of either table adds, with the row's name in place of the braces.
_COST = "COALESCE({0}.cost, 0)"
_ADDS = {
    "attempts": {
        "attempts": "1",
        "unpriced_calls": "CASE WHEN {0}.state = 'billed' AND {0}.cost IS NULL THEN 1 ELSE 0 END",
        "in_doubt": "CASE WHEN {0}.state = 'in_doubt' THEN 1 ELSE 0 END",
        "prompt_tokens": "COALESCE({0}.prompt_tokens, 0)",
        "completion_tokens": "COALESCE({0}.completion_tokens, 0)",
        "cost": _COST,
        "in_doubt_cost": "CASE WHEN {0}.state = 'in_doubt' THEN {0}.reserve ELSE 0 END",
        "lost_cost": f"CASE WHEN {{0}}.outcome <> 'ok' THEN {_COST} ELSE 0 END",
        "again_cost": f"CASE WHEN {{0}}.key LIKE '%.0' THEN 0 ELSE {_COST} END",
        "dropped_cost": f"CASE WHEN {{0}}.dropped THEN {_COST} ELSE 0 END",
    },
    "calls": {
        "calls": "1",
        "cached_calls": "CASE WHEN {0}.cached THEN 1 ELSE 0 END",
        "failed_calls": "CASE WHEN {0}.failure IS NULL THEN 0 ELSE 1 END",
        "saved": "COALESCE({0}.saved, 0)",
    },
}
_FIGURES = [figure for adds in _ADDS.values() for figure in adds]
_NAMES = ("job_id", "layer", "component", "kind", "model")


def upgrade() -> None:
    op.create_table(
        "sums",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("component", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        *(sa.Column(figure, sa.BigInteger(), nullable=False) for figure in _FIGURES),
        sa.PrimaryKeyConstraint(*_NAMES),
    )
    op.create_index(
        "items_with_notes",
        "items",
        ["job_id"],
        sqlite_where=sa.text("notes IS NOT NULL"),
        postgresql_where=sa.text("notes IS NOT NULL"),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, adds in _ADDS.items():
        _add_up(table, adds)
        (_by_sqlite if sqlite else _by_postgres)(table, adds)


def _add_up(table: str, adds: dict[str, str]) -> None:
    """What is on record already."""
    op.execute(_missing(f"SELECT DISTINCT {', '.join(_NAMES)} FROM {table}"))  # noqa: S608
    of_it = " AND ".join(f"sums.{name} = e.{name}" for name in _NAMES)
    for figure, form in adds.items():
        added = f"SELECT COALESCE(SUM({form.format('e')}), 0) FROM {table} AS e WHERE {of_it}"  # noqa: S608
        op.execute(f"UPDATE sums SET {figure} = ({added})")  # noqa: S608


def _missing(names: str) -> str:
    """Rows of nothing for those names that have none."""
    zeros = ", ".join("0" for _ in _FIGURES)
    at = " AND ".join(f"s.{name} = n.{name}" for name in _NAMES)
    columns = ", ".join((*_NAMES, *_FIGURES))
    named = ", ".join(f"n.{name}" for name in _NAMES)
    return (
        f"INSERT INTO sums ({columns}) SELECT {named}, {zeros} FROM ({names}) AS n "  # noqa: S608
        f"WHERE NOT EXISTS (SELECT 1 FROM sums AS s WHERE {at})"
    )


def _steps(adds: dict[str, str]) -> dict[str, list[str]]:
    """What is done of each kind of change; who changes entries has the job's lock."""

    def moved(entry: str, *signed: tuple[str, str]) -> str:
        sets = ", ".join(
            f"{f} = {f} " + " ".join(f"{sign} ({adds[f].format(row)})" for sign, row in signed)
            for f in adds
        )
        at = " AND ".join(f"{name} = {entry}.{name}" for name in _NAMES)
        return f"UPDATE sums SET {sets} WHERE {at}"  # noqa: S608

    named = ", ".join(f"NEW.{name} AS {name}" for name in _NAMES)
    return {
        "INSERT": [_missing(f"SELECT {named}"), moved("NEW", ("+", "NEW"))],
        "UPDATE": [moved("NEW", ("+", "NEW"), ("-", "OLD"))],
        "DELETE": [moved("OLD", ("-", "OLD"))],
    }


def _by_sqlite(table: str, adds: dict[str, str]) -> None:
    for event, steps in _steps(adds).items():
        body = "; ".join(steps)
        name = f"{table}_{event.lower()}_sums"
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {body}; END")


def _by_postgres(table: str, adds: dict[str, str]) -> None:
    branches = " ".join(
        f"IF TG_OP = '{event}' THEN {'; '.join(steps)}; END IF;"
        for event, steps in _steps(adds).items()
    )
    op.execute(
        f"CREATE FUNCTION {table}_sums() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {branches} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_sums AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_sums()"
    )
