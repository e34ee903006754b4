"""Opens the database that the settings name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archon_batch.settings import Settings
from archon_batch.store import Store


@contextmanager
def open_store(settings: Settings, *, spool: bool = False) -> Iterator[Store]:
    """The store, closed when the body ends; with ``spool`` results survive a lost database."""
    store = Store.open(settings.database_url, Path(settings.spool_folder) if spool else None)
    try:
        yield store
    finally:
        store.close()
