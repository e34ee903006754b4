"""Items: the open ones with their replies, their results, and opening them again."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.archon import Answer, CallKey, Failed, Message, Question, Reply
from archon_batch.store import schema
from archon_batch.store.attempts import lock_jobs
from archon_batch.store.compiled_sql import (
    StatementBuilder,
    execute_many,
    fetch_rows,
    json_param,
    where_in,
)
from archon_batch.store.database import Database
from archon_batch.store.failure_reasons import matches_reason
from archon_batch.store.sql_values import now


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An item without a result: its question and its replies so far."""

    ix: int
    question: Question
    replies: Mapping[CallKey, Reply] = field(default_factory=dict)


class Items:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open_in_shard(self, job_id: str, shard: int) -> list[OpenItem]:
        """The open items of the shard, in the dataset's order."""
        return self._load_open(job_id, _open_in_shard_query, {"job": job_id, "shard": shard})

    def open_by_index(self, job_id: str, ixs: Iterable[int]) -> list[OpenItem]:
        """The open ones of these items, in the dataset's order."""
        return self._load_open(
            job_id, _open_by_index_query, {"items": json_param((job_id, ix) for ix in ixs)}
        )

    def _load_open(
        self, job: str, which: StatementBuilder, where: dict[str, str | int]
    ) -> list[OpenItem]:
        with self._database.read_transaction() as connection:
            rows = sorted(fetch_rows(connection, which, **where), key=lambda row: int(row.ix))
            replies: dict[int, dict[CallKey, Reply]] = defaultdict(dict)
            if rows:
                items = json_param((job, row.ix) for row in rows)
                for ix, key, text, failure, finish_reason in fetch_rows(
                    connection, _replies_query, items=items
                ):
                    replies[ix][CallKey.parse(key)] = Reply(
                        text, failure, finish_reason=finish_reason
                    )
        return [
            OpenItem(row.ix, _question(row.row_id, row.messages), replies[row.ix]) for row in rows
        ]

    def finish(self, job_id: str, results: Sequence[tuple[int, Answer | Failed]]) -> None:
        """Record final states. An item that is already final is left unchanged."""
        if not results:
            return
        at = now()
        unused = [
            {"of_job": job_id, "of_ix": ix, "of_key": str(key)}
            for ix, result in results
            if isinstance(result, Answer)
            for key in result.unused_calls
        ]
        with self._database.write_transaction() as connection:
            if unused:
                lock_jobs(connection, [job_id])
            rows = [
                {"of_job": job_id, "of_ix": ix, "ended_at": at, **_result_columns(result)}
                for ix, result in results
            ]
            execute_many(connection, _finish_item_update, rows)
            execute_many(connection, _mark_unused_update, unused)

    def has_open(self, job_id: str) -> bool:
        """Whether any item of the job is open."""
        with self._database.read_transaction() as connection:
            return bool(fetch_rows(connection, _any_open_query, job=job_id))

    def started_shards(self, job_id: str) -> list[int]:
        """The shards that have an open item with a reply."""
        items, calls = schema.items, schema.calls
        joined = sa.and_(calls.c.job_id == items.c.job_id, calls.c.ix == items.c.ix)
        query = (
            sa.select(items.c.shard)
            .join(calls, joined)
            .where(items.c.job_id == job_id, items.c.status == "open")
            .distinct()
            .order_by(items.c.shard)
        )
        with self._database.read_transaction() as connection:
            return list(connection.scalars(query))

    def cancel_job(self, job_id: str) -> bool:
        """Cancel the job and its open items; replies and attempts are kept.

        Return whether anything was cancelled.
        """
        table = schema.items
        with self._database.write_transaction() as connection:
            state = lock_jobs(connection, [job_id])[job_id].state
            if state == "done":
                return False
            if state != "cancelled":
                _set_job_state(connection, job_id, "cancelled", now())
            left = connection.execute(
                sa.update(table)
                .where(table.c.job_id == job_id, table.c.status == "open")
                .values(status="cancelled", ended_at=now())
            )
            return state != "cancelled" or left.rowcount > 0

    def failure_counts(self, job_id: str) -> list[tuple[str, str | None, int]]:
        """The number of items without an answer, by status and reason, the most frequent first."""
        c = schema.items.c
        query = (
            sa.select(c.status, c.reason, sa.func.count())
            .where(c.job_id == job_id, c.status.in_(["failed", "cancelled"]))
            .group_by(c.status, c.reason)
            .order_by(sa.func.count().desc(), c.status.desc(), c.reason)
        )
        with self._database.read_transaction() as connection:
            return [(row.status, row.reason, row[2]) for row in connection.execute(query)]

    def reopen(
        self,
        job_id: str,
        statuses: Iterable[str],
        *,
        reasons: Iterable[str] = (),
        layers: Iterable[int] = (),
        row_ids: Iterable[str] = (),
    ) -> int:
        """Open items again that have one of the statuses; return how many.

        Their failed calls and their scores are deleted, and if there are any, the job runs again.
        Other replies are kept, so only what failed is paid for again; attempts are kept too, but no
        longer count towards the maximum.

        Args:
            job_id: the job.
            statuses: failed or cancelled, or both.
            reasons: texts that must all match: a part of the item's reason, in any case, or the last
                outcome of a failed call.
            layers: the layers at which the item must have failed.
            row_ids: the ids that the row must have.
        """
        items, attempts, scores = schema.items, schema.attempts, schema.scores
        with self._database.write_transaction() as connection:
            state = lock_jobs(connection, [job_id])[job_id].state
            # Earlier versions ended a job in two commits, and may have been killed in between.
            is_final = state in ("done", "cancelled")
            left = len(fetch_rows(connection, _open_items_query, job=job_id)) if is_final else 0
            ixs = list(
                connection.scalars(
                    sa.select(items.c.ix).where(
                        items.c.job_id == job_id,
                        items.c.status.in_(list(statuses)),
                        # A rejected row has no messages.
                        items.c.messages != "[]",
                        *(matches_reason(reason) for reason in reasons),
                        *(items.c.reason.startswith(_layer_prefix(layer)) for layer in layers),
                        *(items.c.row_id == row for row in row_ids),
                    )
                )
            )
            for some in (ixs[at : at + 500] for at in range(0, len(ixs), 500)):
                _delete_failed_replies(connection, job_id, some)
                connection.execute(
                    sa.update(attempts)
                    .where(attempts.c.job_id == job_id, attempts.c.ix.in_(some))
                    .values(counted=False, unused=False)
                )
                connection.execute(
                    sa.delete(scores).where(scores.c.job_id == job_id, scores.c.ix.in_(some))
                )
                connection.execute(
                    sa.update(items)
                    .where(items.c.job_id == job_id, items.c.ix.in_(some))
                    .values(status="open", answer=None, reason=None, warnings=None, ended_at=None)
                )
            if (ixs or left) and state != "running":
                _set_job_state(connection, job_id, "running", None)
            return len(ixs) + left


def _set_job_state(connection: Connection, job_id: str, state: str, at: datetime | None) -> None:
    job = sa.update(schema.jobs).where(schema.jobs.c.id == job_id)
    connection.execute(job.values(state=state, reason=None, ended_at=at))


def _select_open_items() -> sa.Select[*tuple[Any, ...]]:
    # Without ORDER BY, for which SQLite would read the whole job.
    c = schema.items.c
    query = sa.select(c.ix, c.row_id, c.messages)
    return query.where(c.status == sa.literal_column("'open'"))


def _open_in_shard_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.items.c
    return _select_open_items().where(
        c.job_id == sa.bindparam("job"), c.shard == sa.bindparam("shard")
    )


def _open_by_index_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.items.c
    return where_in(_select_open_items(), [c.job_id, c.ix], "items", is_sqlite=is_sqlite)


def _replies_query(is_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    c = schema.calls.c
    query = sa.select(c.ix, c.key, c.text, c.failure, c.finish_reason)
    return where_in(query, [c.job_id, c.ix], "items", is_sqlite=is_sqlite)


def _open_items_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return _select_open_items().where(schema.items.c.job_id == sa.bindparam("job"))


def _any_open_query(_sqlite: bool) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(sa.literal_column("1")).where(_open_items_query(_sqlite).exists())


def _finish_item_update(_sqlite: bool) -> sa.Update:
    c = schema.items.c
    names = ("status", "answer", "reason", "warnings", "ended_at")
    return (
        sa.update(schema.items)
        .where(
            c.job_id == sa.bindparam("of_job"),
            c.ix == sa.bindparam("of_ix"),
            c.status == sa.literal_column("'open'"),
        )
        .values({name: sa.bindparam(name, type_=c[name].type) for name in names})
    )


def _mark_unused_update(_sqlite: bool) -> sa.Update:
    """Mark a call's attempts as unused, if the item has been answered."""
    items, attempts = schema.items.c, schema.attempts.c
    answered = sa.exists().where(
        items.job_id == attempts.job_id,
        items.ix == attempts.ix,
        items.status == sa.literal_column("'answered'"),
    )
    return (
        sa.update(schema.attempts)
        .where(
            attempts.job_id == sa.bindparam("of_job"),
            attempts.ix == sa.bindparam("of_ix"),
            attempts.key == sa.bindparam("of_key"),
            answered,
        )
        .values(unused=sa.true())
    )


def _delete_failed_replies(connection: Connection, job_id: str, ixs: Sequence[int]) -> None:
    """Delete failed and blank replies, and all replies of the layers after the first of them.

    Those layers saw other candidates than the item will have. An unchanged request is a cache hit.
    """
    table = schema.calls
    of_items = (table.c.job_id == job_id, table.c.ix.in_(ixs))
    first_layer: dict[int, int] = {}
    empty: list[tuple[int, str]] = []
    columns = (table.c.ix, table.c.key, table.c.layer, table.c.text, table.c.failure)
    for row in connection.execute(sa.select(*columns).where(*of_items)):
        if row.failure is not None or not (row.text or "").strip():
            empty.append((row.ix, row.key))
            first_layer[row.ix] = min(row.layer, first_layer.get(row.ix, row.layer))
    for ix, key in empty:
        connection.execute(
            sa.delete(table).where(table.c.job_id == job_id, table.c.ix == ix, table.c.key == key)
        )
    for ix, layer in first_layer.items():
        connection.execute(
            sa.delete(table).where(
                table.c.job_id == job_id, table.c.ix == ix, table.c.layer > layer
            )
        )


def _layer_prefix(layer: int) -> str:
    """The beginning of the reason of an item that failed at the layer."""
    return f"layer {layer}: "


def _question(row_id: str, messages: str) -> Question:
    return Question(row_id, tuple(Message(role, text) for role, text in json.loads(messages)))


def _result_columns(end: Answer | Failed) -> dict[str, object]:
    notes = json.dumps([asdict(note) for note in end.warnings]) if end.warnings else None
    if isinstance(end, Answer):
        return {"status": "answered", "answer": end.text, "reason": None, "warnings": notes}
    return {
        "status": "failed",
        "answer": None,
        "reason": f"{_layer_prefix(end.layer)}{end.why}",
        "warnings": notes,
    }
