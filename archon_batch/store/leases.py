"""Leases: which processes are alive, and which one leads, by the clock that all processes share."""

from collections.abc import Mapping

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.database import Database

#: Seconds that an expired lease is kept.
_EXPIRED_KEPT_SECONDS = 86_400.0
#: Seconds: no lease is this long. One that runs longer was acquired by a clock that was ahead.
_MAX_LEASE_SECONDS = 300.0


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, seconds: float) -> bool:
        """Acquire or renew the lease, unless another holder has it; return whether it is held."""
        c = schema.leases.c
        with self._database.write_transaction(durable=False) as connection:
            now = self._database.epoch_seconds(connection)
            values = {"holder": holder, "expires_at": now + seconds}
            is_free = sa.or_(
                c.holder == holder, c.expires_at < now, c.expires_at > now + _MAX_LEASE_SECONDS
            )
            renew = sa.update(schema.leases).where(c.name == name, is_free).values(**values)
            if connection.execute(renew).rowcount:
                return True
            self._database.advisory_lock(connection, f"lease {name}")
            if connection.execute(sa.select(c.name).where(c.name == name)).first():
                return False
            connection.execute(sa.insert(schema.leases), {"name": name, **values})
            return True

    def release(self, name: str, holder: str) -> None:
        """Release the lease if this holder has it."""
        c = schema.leases.c
        with self._database.write_transaction(durable=False) as connection:
            connection.execute(sa.delete(schema.leases).where(c.name == name, c.holder == holder))

    def all(self) -> Mapping[str, bool]:
        """The stored leases by name, and whether each is unexpired."""
        c = schema.leases.c
        with self._database.read_transaction() as connection:
            now = self._database.epoch_seconds(connection)
            rows = connection.execute(sa.select(c.name, c.expires_at)).all()
        return {row.name: now <= row.expires_at <= now + _MAX_LEASE_SECONDS for row in rows}

    def delete_expired(self) -> None:
        """Delete leases that expired long ago."""
        c = schema.leases.c
        with self._database.write_transaction(durable=False) as connection:
            before = self._database.epoch_seconds(connection) - _EXPIRED_KEPT_SECONDS
            connection.execute(sa.delete(schema.leases).where(c.expires_at < before))
