"""The id of the installation that a database belongs to; names on the broker contain it."""

import uuid
from functools import cached_property

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.database import Database


class Installation:
    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def id(self) -> str:
        """Created when it is first read, and stored; a copy of the database has the same id.

        Raises:
            StoreError: the database is unavailable.
        """
        with self._database.read_transaction() as connection:
            stored = connection.scalar(sa.select(schema.installation.c.id))
        return str(stored or self._create_id())

    def _create_id(self) -> str:
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, "installation")
            stored = connection.scalar(sa.select(schema.installation.c.id))
            if stored is None:
                stored = uuid.uuid4().hex[:12]
                connection.execute(sa.insert(schema.installation), {"id": stored})
        return str(stored)
