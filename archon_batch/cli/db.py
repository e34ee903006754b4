"""``archon-batch db``."""

from pathlib import Path

import click

from archon_batch.cli import options
from archon_batch.cli.tables import stderr
from archon_batch.store import Store
from archon_batch.store import upgrade as bring


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the tables to what this version needs."""
    bring(options.load_settings().database_url)
    stderr.print("the database is up to date")


@db.command()
def accept() -> None:
    """Take an older copy, or a restored backup, as it is.

    What this machine saw on record since then is forgotten, and paid for again. Each machine that
    has run calls on the database says so for itself.
    """
    settings = options.load_settings()
    store = Store.open(settings.database_url, Path(settings.spool_folder))
    try:
        lost = None if store.high_water_mark is None else store.high_water_mark.accept()
    finally:
        store.close()
    if lost is None:
        stderr.print("the database knows all that this machine saw on record")
    else:
        stderr.print(f"accepted without {lost}")
