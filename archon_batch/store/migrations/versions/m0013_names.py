"""Standard names for tables, columns and states."""

import sqlalchemy as sa
from alembic import op

from archon_batch.store.usage_triggers import create_triggers

revision = "0013"
down_revision = "0012"

_TABLES = {
    "lines": "shard_cursors",
    "nights": "scheduled_runs",
    "limits": "rate_limits",
    "sums": "usage_totals",
}
_COLUMNS = {
    "jobs": {"shard": "shard_size", "width": "concurrent_shards", "reserved": "held"},
    "items": {"notes": "warnings"},
    "calls": {"finish": "finish_reason", "saved": "cache_saved"},
    "attempts": {
        "n": "attempt_number",
        "why": "detail",
        "reserve": "hold",
        "counts": "counted",
        "dropped": "unused",
    },
    "completions": {"finish": "finish_reason", "made_at": "created_at"},
    "usage_totals": {
        "lost_cost": "failed_cost",
        "again_cost": "reask_cost",
        "dropped_cost": "unused_cost",
        "saved": "cache_saved",
    },
    "scheduled_runs": {"file": "job_file", "name": "job_name", "told_at": "notified_at"},
    "scores": {"read": "extracted", "unread": "unparsed_reason"},
    "rate_limits": {"meter": "state"},
    "workers": {"seen": "heartbeat_at"},
    "searches": {"asked": "request"},
    "trials": {"n": "number", "told": "data"},
    "shard_cursors": {
        "line": "cursor",
        "turn": "token",
        "waiting": "pending_batches",
        "via": "carrier",
        "moved": "progress_at",
        "sent": "sent_at",
    },
    "leases": {"until": "expires_at"},
}
#: Kinds of warnings, in the JSON of ``items.warnings``.
_WARNING_KINDS = {
    "unreadable": "unparsed",
    "without": "skipped",
    "overflow": "context_overflow",
    "cut": "truncated",
}


def upgrade() -> None:
    connection = op.get_bind()
    for table in ("attempts", "calls"):
        if connection.dialect.name == "sqlite":
            for event in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER {table}_{event}_sums")
        else:
            op.execute(f"DROP TRIGGER {table}_sums ON {table}")
            op.execute(f"DROP FUNCTION {table}_sums()")
    op.drop_index("items_with_notes", "items")
    op.drop_index("ix_nights_job_id", "nights")
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            op.execute(f'ALTER TABLE {table} RENAME COLUMN "{old}" TO "{new}"')
    op.create_index("ix_scheduled_runs_job_id", "scheduled_runs", ["job_id"])
    op.create_index(
        "items_with_warnings",
        "items",
        ["job_id"],
        sqlite_where=sa.text("warnings IS NOT NULL"),
        postgresql_where=sa.text("warnings IS NOT NULL"),
    )
    op.execute("UPDATE items SET status = 'failed' WHERE status = 'given_up'")
    op.execute("""UPDATE jobs SET options = REPLACE(options, '"beyond": ', '"overbilling": ')""")
    for old, new in _WARNING_KINDS.items():
        # Inside a JSON string the quotes would be escaped, so this matches the key only.
        values = f"""'"kind": "{old}"', '"kind": "{new}"'"""
        op.execute(f"UPDATE items SET warnings = REPLACE(warnings, {values})")  # noqa: S608
    op.execute("UPDATE scheduled_runs SET state = 'export_failed' WHERE state = 'unexported'")
    create_triggers(connection)
