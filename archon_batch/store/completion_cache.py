"""The completion cache: paid-for replies under the fingerprint of their request."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from archon_batch.store import schema
from archon_batch.store.database import Database
from archon_batch.store.sql_values import as_utc

#: Fingerprints per query: SQLite limits the number of variables.
_LOOKUP_CHUNK = 500


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The cached completions of one model."""

    model: str
    completions: int
    #: Characters of their texts.
    characters: int
    #: Nano-dollars that they cost when they were paid for, without unpriced ones.
    cost: int
    oldest: datetime
    newest: datetime


class CachedCompletion(NamedTuple):
    """A cached reply."""

    text: str
    finish_reason: str | None


class CompletionCache:
    def __init__(self, database: Database) -> None:
        self._database = database

    def stats(self) -> list[CacheStats]:
        """Statistics by model."""
        c = schema.completions.c
        query = (
            sa.select(
                c.model,
                sa.func.count(),
                sa.func.sum(sa.func.length(c.text)),
                sa.func.coalesce(sa.func.sum(c.cost), 0),
                sa.func.min(c.created_at),
                sa.func.max(c.created_at),
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
        """Delete the completions made before a time; return how many.

        Jobs keep their replies.
        """
        table = schema.completions
        condition = table.c.created_at < before
        if model is not None:
            condition &= table.c.model == model
        with self._database.write_transaction() as connection:
            return connection.execute(sa.delete(table).where(condition)).rowcount

    def lookup(self, fingerprints: Iterable[str]) -> dict[str, CachedCompletion]:
        """The cached completions of these requests, by fingerprint."""
        table = schema.completions
        unique = list(dict.fromkeys(fingerprints))
        completions: dict[str, CachedCompletion] = {}
        query = sa.select(table.c.fingerprint, table.c.text, table.c.finish_reason)
        with self._database.read_transaction() as connection:
            for at in range(0, len(unique), _LOOKUP_CHUNK):
                chunk = table.c.fingerprint.in_(unique[at : at + _LOOKUP_CHUNK])
                for row in connection.execute(query.where(chunk)):
                    completions[row.fingerprint] = CachedCompletion(row.text, row.finish_reason)
        return completions
