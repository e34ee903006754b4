"""Attempts that made candidates of which nothing is in the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column(
        "attempts",
        sa.Column("dropped", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
