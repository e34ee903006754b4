"""Workers on record: who drains which queues, so that no message goes where nobody fetches it."""

import json
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.database import Database

#: Seconds after which a worker that has said nothing is not counted on.
HEARTBEAT_TIMEOUT = 30.0
#: Seconds after which it is forgotten.
_FORGOTTEN_AFTER = 86_400.0


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    queues: tuple[str, ...]
    #: Seconds since it was last heard of.
    seconds_since_heartbeat: float

    @property
    def is_alive(self) -> bool:
        return self.seconds_since_heartbeat <= HEARTBEAT_TIMEOUT


class Workers:
    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, name: str, queues: Collection[str]) -> None:
        """Put on record that the worker lives and drains the queues, for ``SILENT`` seconds."""
        w = tables.workers.c
        with self._database.write_transaction() as connection:
            seen = self._database.epoch_seconds(connection)
            said = {"queues": json.dumps(sorted(queues)), "seen": seen}
            again = sa.update(tables.workers).where(w.name == name).values(**said)
            if connection.execute(again).rowcount == 0:
                connection.execute(sa.insert(tables.workers), {"name": name, **said})
            connection.execute(sa.delete(tables.workers).where(w.seen < seen - _FORGOTTEN_AFTER))

    def deregister(self, name: str) -> None:
        """Take note that the worker drains nothing any more."""
        with self._database.write_transaction() as connection:
            connection.execute(sa.delete(tables.workers).where(tables.workers.c.name == name))

    def all(self) -> list[Worker]:
        """Those that were heard of within a day, by name."""
        with self._database.read_transaction() as connection:
            rows = connection.execute(sa.select(tables.workers).order_by(tables.workers.c.name))
            found, now = rows.all(), self._database.epoch_seconds(connection)
        # What was said in the future was said by a clock that was ahead, as long ago as that.
        return [Worker(r.name, tuple(json.loads(r.queues)), abs(now - r.seen)) for r in found]

    def consumed_queues(self) -> frozenset[str]:
        """The queues that some living worker drains."""
        return frozenset(q for worker in self.all() if worker.is_alive for q in worker.queues)
