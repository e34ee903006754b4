"""Limits: what an operator set for a model, and what is used of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("api_base", sa.String(length=2000), nullable=False),
        sa.Column("rpm", sa.Integer(), nullable=True),
        sa.Column("tpm", sa.Integer(), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "api_base"),
    )
