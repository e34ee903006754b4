"""Attempts that made candidates of which nothing is in the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "attempts",
        sa.Column("dropped", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
