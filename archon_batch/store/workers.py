"""The worker registry: which queues have a consumer."""

import json
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.database import Database

#: Seconds after its last heartbeat when a worker is considered dead.
HEARTBEAT_TIMEOUT = 30.0
#: Seconds after its last heartbeat when a worker is deleted.
_FORGOTTEN_AFTER = 86_400.0


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    queues: tuple[str, ...]
    seconds_since_heartbeat: float

    @property
    def is_alive(self) -> bool:
        return self.seconds_since_heartbeat <= HEARTBEAT_TIMEOUT


class Workers:
    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, name: str, queues: Collection[str]) -> None:
        """Record a heartbeat of the worker, and the queues that it consumes."""
        c = schema.workers.c
        with self._database.write_transaction() as connection:
            now = self._database.epoch_seconds(connection)
            values = {"queues": json.dumps(sorted(queues)), "heartbeat_at": now}
            update = sa.update(schema.workers).where(c.name == name).values(**values)
            if connection.execute(update).rowcount == 0:
                connection.execute(sa.insert(schema.workers), {"name": name, **values})
            expired = c.heartbeat_at < now - _FORGOTTEN_AFTER
            connection.execute(sa.delete(schema.workers).where(expired))

    def deregister(self, name: str) -> None:
        """Record that the worker has stopped consuming."""
        with self._database.write_transaction() as connection:
            connection.execute(sa.delete(schema.workers).where(schema.workers.c.name == name))

    def all(self) -> list[Worker]:
        """The workers with a heartbeat within a day, by name."""
        with self._database.read_transaction() as connection:
            rows = connection.execute(sa.select(schema.workers).order_by(schema.workers.c.name))
            workers, now = rows.all(), self._database.epoch_seconds(connection)
        # A heartbeat in the future came from a clock that was ahead; count its distance as age.
        return [
            Worker(row.name, tuple(json.loads(row.queues)), abs(now - row.heartbeat_at))
            for row in workers
        ]

    def consumed_queues(self) -> frozenset[str]:
        """The queues that some living worker consumes."""
        return frozenset(
            queue for worker in self.all() if worker.is_alive for queue in worker.queues
        )
