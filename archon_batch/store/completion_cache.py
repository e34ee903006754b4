"""Completions: replies that were paid for, kept under the hash of their request."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from archon_batch.store import tables
from archon_batch.store.database import Database
from archon_batch.store.timestamps import as_utc

#: Fingerprints in one question: fewer than the variables that SQLite takes.
_LOOKUP_CHUNK = 500


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What is kept of one model."""

    model: str
    completions: int
    #: Characters of their texts.
    characters: int
    #: What they cost when they were paid for, in nano-dollars; unpriced ones left out.
    cost: int
    oldest: datetime
    newest: datetime


class CachedCompletion(NamedTuple):
    """What a kept reply holds for a forecast: its tokens and its cost, where these are known."""

    text: str
    finish: str | None


class CompletionCache:
    def __init__(self, database: Database) -> None:
        self._database = database

    def stats(self) -> list[CacheStats]:
        """What is kept, by model."""
        c = tables.completions.c
        query = (
            sa.select(
                c.model,
                sa.func.count(),
                sa.func.sum(sa.func.length(c.text)),
                sa.func.coalesce(sa.func.sum(c.cost), 0),
                sa.func.min(c.made_at),
                sa.func.max(c.made_at),
            )
            .group_by(c.model)
            .order_by(c.model)
        )
        with self._database.read_transaction() as connection:
            return [
                CacheStats(model, count, int(size or 0), int(cost), as_utc(oldest), as_utc(newest))
                for model, count, size, cost, oldest, newest in connection.execute(query)
            ]

    def purge(self, before: datetime, model: str | None = None) -> int:
        """Forget the completions made before a moment; return how many.

        Jobs keep their replies: only what would be found by others is gone.
        """
        table = tables.completions
        condition = table.c.made_at < before
        if model is not None:
            condition &= table.c.model == model
        with self._database.write_transaction() as connection:
            return connection.execute(sa.delete(table).where(condition)).rowcount

    def lookup(self, fingerprints: Iterable[str]) -> dict[str, CachedCompletion]:
        """Those of the requests whose replies are kept."""
        table = tables.completions
        wanted = list(dict.fromkeys(fingerprints))
        found: dict[str, CachedCompletion] = {}
        query = sa.select(table.c.fingerprint, table.c.text, table.c.finish)
        with self._database.read_transaction() as connection:
            for at in range(0, len(wanted), _LOOKUP_CHUNK):
                some = table.c.fingerprint.in_(wanted[at : at + _LOOKUP_CHUNK])
                for row in connection.execute(query.where(some)):
                    found[row.fingerprint] = CachedCompletion(row.text, row.finish)
        return found
