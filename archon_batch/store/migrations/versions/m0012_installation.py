"""An id of the database, which the names on a broker carry."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table("installation", sa.Column("id", sa.String(32), primary_key=True))
