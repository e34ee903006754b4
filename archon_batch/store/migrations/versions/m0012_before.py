"""The schema before the first release. The migrations that led to it are gone."""

revision = "0012"
down_revision = None


def upgrade() -> None:
    """Do nothing: only databases with this schema start here."""
