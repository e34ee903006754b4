"""The audit: a job's books added up again from their entries, apart from how they were written."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import tables
from archon_batch.store.attempts import CALL_KEY_COLUMNS
from archon_batch.store.database import Database
from archon_batch.store.settlement import LATE_ANSWER


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What the entries say, and what was written down beside them. Nano-dollars."""

    #: Spent, reserved and in doubt: added up from the attempts, and as the job has them.
    recomputed: tuple[int, int, int]
    stored: tuple[int, int, int]
    budget: int | None
    #: Attempts that were billed more than was kept back for them, and by how much in all.
    overrun_attempts: int
    overrun_cost: int
    #: The rows that the job took in, and its items by their status.
    rows: int
    items_by_status: dict[str, int]
    #: Items whose status and contents do not belong together.
    inconsistent_items: int
    #: Calls with a reply that was neither found nor answered by an attempt on the bill.
    unpaid_replies: int
    #: Attempts that were answered, and whose call has no reply.
    answers_without_reply: int
    #: Calls with several attempts under way.
    calls_sent_twice: int
    #: Calls with an attempt on the bill that was made although an answer was on record; and those
    #: with several on the bill because an answer came late, to an attempt that was in doubt.
    calls_paid_twice: int
    calls_paid_late: int
    #: Attempts under way, and those among them whose time is over.
    open_attempts: int


class LedgerAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, job_id: str) -> LedgerCheck:
        """Add the job's books up, at one moment."""
        a, c, i = tables.attempts.c, tables.calls.c, tables.items.c
        with self._database.read_transaction() as connection:
            if not self._database.is_sqlite:
                connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            job = connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id)).one()
            of_call = sa.and_(*(a[name] == c[name] for name in ("job_id", "ix", "key")))
            answered = sa.exists().where(of_call, a.state == "billed", a.outcome == "ok")
            has_reply = sa.exists().where(of_call)
            twice = (
                sa.select(*CALL_KEY_COLUMNS)
                .where(a.job_id == job_id, a.state == "sending")
                .group_by(*CALL_KEY_COLUMNS)
                .having(sa.func.count() > 1)
            )
            broken = sa.or_(
                i.status.not_in(("open", "answered", "failed", "cancelled")),
                (i.status == "answered") != i.answer.is_not(None),
                (i.status == "failed") != i.reason.is_not(None),
                (i.status == "open") != i.ended_at.is_(None),
            )
            beyond = a.cost - a.reserve
            exceeding, exceeded = connection.execute(
                sa.select(sa.func.count(), sa.func.sum(beyond)).where(
                    a.job_id == job_id, beyond > 0
                )
            ).one()
            return LedgerCheck(
                recomputed=_recomputed_money(connection, job_id),
                stored=(job.spent, job.reserved, job.in_doubt),
                budget=job.budget,
                overrun_attempts=exceeding,
                overrun_cost=int(exceeded or 0),
                rows=job.rows,
                items_by_status=_items_by_status(connection, job_id),
                inconsistent_items=_count(
                    connection, sa.select(i.ix).where(i.job_id == job_id, broken)
                ),
                unpaid_replies=_count(
                    connection,
                    sa.select(c.key).where(
                        c.job_id == job_id, sa.not_(c.cached), c.failure.is_(None), ~answered
                    ),
                ),
                answers_without_reply=_count(
                    connection,
                    sa.select(a.key).where(
                        a.job_id == job_id, a.outcome == "ok", a.counts, ~has_reply
                    ),
                ),
                calls_sent_twice=_count(connection, twice),
                calls_paid_twice=_count(connection, _calls_paid_twice_query(job_id, late=False)),
                calls_paid_late=_count(connection, _calls_paid_twice_query(job_id, late=True)),
                open_attempts=_count(
                    connection, sa.select(a.key).where(a.job_id == job_id, a.state == "sending")
                ),
            )


def _calls_paid_twice_query(job_id: str, *, late: bool) -> sa.Select[tuple[object, ...]]:
    """Calls with an answer that was paid for before another attempt that was paid for too.

    Both count: who retries begins a new count.
    """
    first, later = tables.attempts.alias(), tables.attempts.alias()
    of_call = (later.c[name] == first.c[name] for name in ("job_id", "ix", "key"))
    again = sa.exists().where(
        *of_call, later.c.n > first.c.n, later.c.counts, later.c.state == "billed"
    )
    is_late = sa.func.coalesce(first.c.why, "") == LATE_ANSWER
    return (
        sa.select(first.c.ix, first.c.key)
        .where(first.c.job_id == job_id, first.c.counts, first.c.state == "billed")
        .where(first.c.outcome == "ok", is_late if late else ~is_late, again)
        .distinct()
    )


def _recomputed_money(connection: Connection, job_id: str) -> tuple[int, int, int]:
    a = tables.attempts.c
    sums = (
        sa.func.sum(a.cost),
        sa.func.sum(sa.case((a.state == "sending", a.reserve), else_=0)),
        sa.func.sum(sa.case((a.state == "in_doubt", a.reserve), else_=0)),
    )
    row = connection.execute(sa.select(*sums).where(a.job_id == job_id)).one()
    spent, reserved, in_doubt = (int(value or 0) for value in row)
    return spent, reserved, in_doubt


def _items_by_status(connection: Connection, job_id: str) -> dict[str, int]:
    table = tables.items
    query = (
        sa.select(table.c.status, sa.func.count())
        .where(table.c.job_id == job_id)
        .group_by(table.c.status)
    )
    return {status: int(count) for status, count in connection.execute(query)}


def _count(connection: Connection, query: sa.Select[tuple[object, ...]]) -> int:
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
    )
