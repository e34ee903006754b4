"""``archon-batch db``."""

import click

from archon_batch.cli import options
from archon_batch.cli.tables import stderr
from archon_batch.store import upgrade as upgrade_schema


@click.group()
def db() -> None:
    """Migrate the database, or accept a restored one."""


@db.command()
def upgrade() -> None:
    """Migrate the database schema to this version."""
    upgrade_schema(options.load_settings().database_url)
    stderr.print("the database schema is up to date")


@db.command()
def accept() -> None:
    """Accept an older copy of the database, such as a restored backup.

    Results that this machine saw after the copy was made are lost, and their calls are paid for
    again. Run this on every machine that has executed calls on the database.
    """
    settings = options.load_settings()
    with options.open_store(settings, spool=True) as store:
        lost = None if store.high_water_mark is None else store.high_water_mark.accept()
    if lost is None:
        stderr.print("the database has everything that this machine has seen in it")
    else:
        stderr.print(f"accepted without {lost}")
