"""When a line's messages were sent, to tell which of them have been passed in their queue."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column(
        "lines", sa.Column("sent", sa.Float(), nullable=False, server_default=sa.text("0"))
    )
