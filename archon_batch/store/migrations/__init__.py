"""The history of the tables, run by Alembic."""

from pathlib import Path

from sqlalchemy.engine import Engine

#: The newest migration, which this program needs.
HEAD = "0012"


def upgrade(engine: Engine) -> None:
    """Bring the tables to ``HEAD``, in one transaction; make them where there are none."""
    # Alembic takes a fifth of a second to import, and is needed once in a database's life.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["engine"] = engine
    command.upgrade(config, HEAD)
