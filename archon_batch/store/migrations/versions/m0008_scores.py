"""Scores: what each answer is worth under a metric."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "scores",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=500), nullable=False),
        sa.Column("ix", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("read", sa.Text(), nullable=True),
        sa.Column("unread", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job_id", "metric", "ix"),
    )
