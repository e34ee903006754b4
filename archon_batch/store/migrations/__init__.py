"""Schema migrations, run by Alembic. An empty database gets the current schema without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import SQLModel

from archon_batch.store import schema as _schema  # noqa: F401  (fills the metadata)
from archon_batch.store.usage_triggers import create_triggers

#: The schema that this program needs.
HEAD = "0013"
#: The schemas that can be migrated to ``HEAD``. Older ones date from before the first release.
UPGRADABLE = ("0012",)


def upgrade(engine: Engine) -> None:
    """Create the schema in an empty database, or migrate it to ``HEAD``, in one transaction."""
    # Importing Alembic takes a fifth of a second, and a database needs it once.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with _locked(engine) as connection:
        if sa.inspect(connection).has_table("alembic_version"):
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
        else:
            SQLModel.metadata.create_all(connection)
            create_triggers(connection)
            scripts = ScriptDirectory.from_config(config)
            MigrationContext.configure(connection).stamp(scripts, HEAD)


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes other programs which find the same empty database."""
    lock = (
        "BEGIN IMMEDIATE"
        if engine.dialect.name == "sqlite"
        else "SELECT pg_advisory_xact_lock(hashtext('archon-batch schema'))"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(lock)
        yield connection
        connection.commit()
