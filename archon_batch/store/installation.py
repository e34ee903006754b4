"""Which installation a database is: what a broker holds for it carries its id."""

import uuid
from functools import cached_property

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.database import Database


class Installation:
    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def id(self) -> str:
        """Drawn when it is first asked for, and kept with the tables; a copy of them has the same.

        Raises:
            StoreError: the database cannot be reached.
        """
        query = sa.select(tables.installation.c.id)
        with self._database.read_transaction() as connection:
            found = connection.scalar(query)
        return str(found or self._create_id())

    def _create_id(self) -> str:
        with self._database.write_transaction() as connection:
            self._database.advisory_lock(connection, "installation")
            found = connection.scalar(sa.select(tables.installation.c.id))
            if found is None:
                found = uuid.uuid4().hex[:12]
                connection.execute(sa.insert(tables.installation), {"id": found})
        return str(found)
