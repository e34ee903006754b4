"""Token counts as wide as the sums that triggers keep of them: a reported count is anybody's."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_COUNTS = {
    "attempts": ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    "completions": ("prompt_tokens", "completion_tokens"),
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # Its integers have one width, and its tables are only altered by being written anew.
        return
    for table, columns in _COUNTS.items():
        # One statement a table, since each writes the whole of it anew.
        wider = ", ".join(f"ALTER COLUMN {column} TYPE BIGINT" for column in columns)
        op.execute(sa.text(f"ALTER TABLE {table} {wider}"))
