"""Leases: who lives, and who does for all what one is to do; by the clock that all share."""

from collections.abc import Mapping

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.database import Database

#: Seconds that a lapsed lease is remembered.
_EXPIRED_KEPT_SECONDS = 86_400.0
#: Seconds that no lease is taken for: one that runs for longer was taken by a clock that was ahead.
_MAX_LEASE_SECONDS = 300.0


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, seconds: float) -> bool:
        """Hold the lease from now on for so long, unless somebody else does; say whether."""
        own = tables.leases.c
        with self._database.write_transaction(durable=False) as connection:
            at = self._database.epoch_seconds(connection)
            values = {"holder": holder, "until": at + seconds}
            mine = sa.or_(own.holder == holder, own.until < at, own.until > at + _MAX_LEASE_SECONDS)
            renewed = sa.update(tables.leases).where(own.name == name, mine).values(**values)
            if connection.execute(renewed).rowcount:
                return True
            self._database.advisory_lock(connection, f"lease {name}")
            if connection.execute(sa.select(own.name).where(own.name == name)).first():
                return False
            connection.execute(sa.insert(tables.leases), {"name": name, **values})
            return True

    def release(self, name: str, holder: str) -> None:
        """Hold it no longer, if it is held."""
        own = tables.leases.c
        with self._database.write_transaction(durable=False) as connection:
            connection.execute(
                sa.delete(tables.leases).where(own.name == name, own.holder == holder)
            )

    def all(self) -> Mapping[str, bool]:
        """The leases that are remembered, by name, and whether each still runs."""
        own = tables.leases.c
        with self._database.read_transaction() as connection:
            at = self._database.epoch_seconds(connection)
            rows = connection.execute(sa.select(own.name, own.until)).all()
        return {row.name: at <= row.until <= at + _MAX_LEASE_SECONDS for row in rows}

    def delete_expired(self) -> None:
        """Remove leases that lapsed long ago."""
        with self._database.write_transaction(durable=False) as connection:
            before = self._database.epoch_seconds(connection) - _EXPIRED_KEPT_SECONDS
            connection.execute(sa.delete(tables.leases).where(tables.leases.c.until < before))
