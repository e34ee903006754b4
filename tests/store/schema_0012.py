"""The schema before the migration to standard names, as a database of that time has it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import usage_triggers

VERSION = "0012"

#: A table a paragraph, a column a line: name, type, and whether it is a key, may be null, refers to
#: another table, is unique, or has an index.
_TABLES = """
completions
    fingerprint string64 key
    model string200
    text text
    finish string64 null
    prompt_tokens tokens null
    completion_tokens tokens null
    cost bigint null
    made_at time
installation
    id string32 key
jobs
    id string32 key
    submit_key string64 unique
    name string200 index
    dataset text
    architecture text
    prices text
    options text
    rows integer
    shard integer
    width integer
    state string16
    reason text null
    priority string16
    budget bigint null
    spent bigint
    reserved bigint
    in_doubt bigint
    created_at time
    ended_at time null
leases
    name string110 key
    holder string100
    until float
limits
    model string200 key
    api_base string2000 key
    rpm integer null
    tpm integer null
    max_in_flight integer null
    meter text
searches
    id string32 key
    name string200 index
    asked text
    state string16
    reason text null
    budget bigint null
    result text null
    created_at time
    ended_at time null
sums
    job_id string32 key
    layer integer key
    component integer key
    kind string64 key
    model string200 key
    attempts bigint
    unpriced_calls bigint
    in_doubt bigint
    prompt_tokens bigint
    completion_tokens bigint
    cost bigint
    in_doubt_cost bigint
    lost_cost bigint
    again_cost bigint
    dropped_cost bigint
    calls bigint
    cached_calls bigint
    failed_calls bigint
    saved bigint
workers
    name string200 key
    queues text
    seen float
attempts
    job_id string32 key ->jobs
    ix integer key
    key string48 key
    n integer key
    layer integer
    component integer
    kind string64
    model string200
    fingerprint string64
    owner string100
    state string16
    outcome string64 null
    why text null
    reserve bigint
    cost bigint null
    estimated boolean
    prompt_tokens tokens null
    completion_tokens tokens null
    cached_tokens tokens null
    reasoning_tokens tokens null
    counts boolean
    dropped boolean
    begun_at time
    expires_at time
    ended_at time null
calls
    job_id string32 key ->jobs
    ix integer key
    key string48 key
    layer integer
    component integer
    kind string64
    model string200
    fingerprint string64
    text text null
    failure text null
    finish string64 null
    cached boolean
    saved bigint null
    settled_at time
items
    job_id string32 key ->jobs
    ix integer key
    shard integer
    row_id text
    messages text
    extras text
    status string16
    answer text null
    reason text null
    notes text null
    ended_at time null
lines
    job_id string32 key ->jobs
    line integer key
    turn string16
    shard integer
    waiting integer
    queues text
    via string100
    moved float
    sent float
nights
    file string500 key
    day string10 key
    name string200 null
    job_id string32 null ->jobs index
    state string16
    reason text null
    owner string100
    begun_at time
    ended_at time null
    told_at time null
scores
    job_id string32 key ->jobs
    metric string500 key
    ix integer key
    value float null
    read text null
    unread text null
search_jobs
    search_id string32 key ->searches
    job_id string32 key ->jobs
trials
    search_id string32 key ->searches
    n integer key
    stage string16
    told text
"""
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "tokens": sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
    "float": sa.Float(),
    "boolean": sa.Boolean(),
    "time": sa.DateTime(timezone=True),
}
#: Name, table, columns, condition.
_INDEXES = (
    ("one_open_attempt", "attempts", ("job_id", "ix", "key"), "state = 'sending'"),
    ("open_attempts_by_request", "attempts", ("fingerprint",), "state = 'sending'"),
    ("items_with_notes", "items", ("job_id",), "notes IS NOT NULL"),
    ("items_by_row", "items", ("job_id", "row_id"), None),
    ("items_by_status", "items", ("job_id", "status", "shard"), None),
)
#: What the statements of the triggers were called.
_NAMES = {
    "usage_totals": "sums",
    "failed_cost": "lost_cost",
    "reask_cost": "again_cost",
    "unused_cost": "dropped_cost",
    ".unused": ".dropped",
    ".hold": ".reserve",
    "cache_saved": "saved",
}


def _column(line: str) -> sa.Column[Any]:
    name, kind, *marks = line.split()
    size = kind.removeprefix("string")
    kind_of = _TYPES.get(kind) or sa.String(int(size))
    refers = [sa.ForeignKey(f"{mark[2:]}.id") for mark in marks if mark.startswith("->")]
    return sa.Column(
        name, kind_of, *refers, primary_key="key" in marks, nullable="null" in marks,
        unique="unique" in marks or None, index="index" in marks or None,
    )  # fmt: skip


def metadata() -> sa.MetaData:
    tables = sa.MetaData()
    name, columns = "", list[sa.Column[Any]]()
    for line in [*_TABLES.strip().splitlines(), "end"]:
        if line.startswith(" "):
            columns.append(_column(line))
            continue
        if columns:
            sa.Table(name, tables, *columns)
        name, columns = line, []
    for index, table, names, condition in _INDEXES:
        where = None if condition is None else sa.text(condition)
        sa.Index(
            index, *(tables.tables[table].c[column] for column in names),
            unique=index == "one_open_attempt", sqlite_where=where, postgresql_where=where,
        )  # fmt: skip
    return tables


def create(connection: Connection) -> sa.MetaData:
    """Create the tables, the triggers and the mark of the version."""
    tables = metadata()
    tables.create_all(connection)
    is_sqlite = connection.dialect.name == "sqlite"
    triggers = usage_triggers._sqlite_triggers if is_sqlite else usage_triggers._postgres_triggers
    for table, totals in usage_triggers._TOTALS.items():
        for statement in triggers(table, totals):
            for new, old in _NAMES.items():
                statement = statement.replace(new, old)  # noqa: PLW2901
            connection.execute(sa.text(statement))
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{VERSION}')")  # noqa: S608
    return tables
