"""``archon-batch db``."""

import click

from archon_batch.cli import room
from archon_batch.cli.tables import aside
from archon_batch.store import upgrade as bring


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the tables to what this version needs."""
    bring(room.settings().database_url)
    aside.print("the database is up to date")
