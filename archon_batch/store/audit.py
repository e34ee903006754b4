"""The audit: recomputes a job's money and checks its records against each other."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.store import schema
from archon_batch.store.attempts import CALL_KEY_COLUMNS
from archon_batch.store.database import Database
from archon_batch.store.settlement import LATE_ANSWER


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What the audit found. Money is in nano-dollars."""

    #: Spent, held and in doubt: recomputed from the attempts, and as stored with the job.
    recomputed: tuple[int, int, int]
    stored: tuple[int, int, int]
    budget: int | None
    #: Attempts that were billed more than their hold, and by how much in total.
    overrun_attempts: int
    overrun_cost: int
    #: The number of rows of the job, and of its items by status.
    rows: int
    items_by_status: dict[str, int]
    #: Items whose status contradicts their other columns.
    inconsistent_items: int
    #: Calls with a reply that is neither a cache hit nor the answer of a billed attempt.
    unpaid_replies: int
    #: Answered attempts whose call has no reply.
    answers_without_reply: int
    #: Calls with several attempts in flight.
    calls_sent_twice: int
    #: Calls with a billed attempt that began although an answer was recorded; and calls with several
    #: billed attempts because the answer to an attempt in doubt came late.
    calls_paid_twice: int
    calls_paid_late: int
    #: Attempts in flight.
    open_attempts: int


class LedgerAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, job_id: str) -> LedgerCheck:
        """Audit the job in one snapshot."""
        a, c, i = schema.attempts.c, schema.calls.c, schema.items.c
        with self._database.read_transaction() as connection:
            if not self._database.is_sqlite:
                connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            job = connection.execute(sa.select(schema.jobs).where(schema.jobs.c.id == job_id)).one()
            same_call = sa.and_(*(a[name] == c[name] for name in ("job_id", "ix", "key")))
            is_answered = sa.exists().where(same_call, a.state == "billed", a.outcome == "ok")
            has_reply = sa.exists().where(same_call)
            sent_twice = (
                sa.select(*CALL_KEY_COLUMNS)
                .where(a.job_id == job_id, a.state == "sending")
                .group_by(*CALL_KEY_COLUMNS)
                .having(sa.func.count() > 1)
            )
            inconsistent = sa.or_(
                i.status.not_in(("open", "answered", "failed", "cancelled")),
                (i.status == "answered") != i.answer.is_not(None),
                (i.status == "failed") != i.reason.is_not(None),
                (i.status == "open") != i.ended_at.is_(None),
            )
            unpaid = sa.select(c.key).where(
                c.job_id == job_id, sa.not_(c.cached), c.failure.is_(None), ~is_answered
            )
            without_reply = sa.select(a.key).where(
                a.job_id == job_id, a.outcome == "ok", a.counted, ~has_reply
            )
            overrun = a.cost - a.hold
            overrun_attempts, overrun_cost = connection.execute(
                sa.select(sa.func.count(), sa.func.sum(overrun)).where(
                    a.job_id == job_id, overrun > 0
                )
            ).one()
            return LedgerCheck(
                recomputed=_recomputed_money(connection, job_id),
                stored=(job.spent, job.held, job.in_doubt),
                budget=job.budget,
                overrun_attempts=overrun_attempts,
                overrun_cost=int(overrun_cost or 0),
                rows=job.rows,
                items_by_status=_items_by_status(connection, job_id),
                inconsistent_items=_count(
                    connection, sa.select(i.ix).where(i.job_id == job_id, inconsistent)
                ),
                unpaid_replies=_count(connection, unpaid),
                answers_without_reply=_count(connection, without_reply),
                calls_sent_twice=_count(connection, sent_twice),
                calls_paid_twice=_count(connection, _calls_paid_twice_query(job_id, late=False)),
                calls_paid_late=_count(connection, _calls_paid_twice_query(job_id, late=True)),
                open_attempts=_count(
                    connection, sa.select(a.key).where(a.job_id == job_id, a.state == "sending")
                ),
            )


def _calls_paid_twice_query(job_id: str, *, late: bool) -> sa.Select[tuple[object, ...]]:
    """Calls with a billed answer before another billed attempt; ``late`` if the answer was late.

    Both attempts must count, because ``retry`` starts a new count.
    """
    first, later = schema.attempts.alias(), schema.attempts.alias()
    same_call = (later.c[name] == first.c[name] for name in ("job_id", "ix", "key"))
    paid_again = sa.exists().where(
        *same_call,
        later.c.attempt_number > first.c.attempt_number,
        later.c.counted,
        later.c.state == "billed",
    )
    is_late = sa.func.coalesce(first.c.detail, "") == LATE_ANSWER
    return (
        sa.select(first.c.ix, first.c.key)
        .where(first.c.job_id == job_id, first.c.counted, first.c.state == "billed")
        .where(first.c.outcome == "ok", is_late if late else ~is_late, paid_again)
        .distinct()
    )


def _recomputed_money(connection: Connection, job_id: str) -> tuple[int, int, int]:
    a = schema.attempts.c
    sums = (
        sa.func.sum(a.cost),
        sa.func.sum(sa.case((a.state == "sending", a.hold), else_=0)),
        sa.func.sum(sa.case((a.state == "in_doubt", a.hold), else_=0)),
    )
    row = connection.execute(sa.select(*sums).where(a.job_id == job_id)).one()
    spent, held, in_doubt = (int(value or 0) for value in row)
    return spent, held, in_doubt


def _items_by_status(connection: Connection, job_id: str) -> dict[str, int]:
    c = schema.items.c
    query = sa.select(c.status, sa.func.count()).where(c.job_id == job_id).group_by(c.status)
    return {status: int(count) for status, count in connection.execute(query)}


def _count(connection: Connection, query: sa.Select[tuple[object, ...]]) -> int:
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
    )
