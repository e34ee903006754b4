"""Why items ended, as a condition of those that are opened again."""

import sqlalchemy as sa

from archon_batch.store import tables

#: What people call an outcome that the ledger has another word for.
_ALIASES = {"timeout": "call_timeout"}


def matches_reason(text: str) -> sa.ColumnElement[bool]:
    """Whether the item's reason has the text, or a failed call of the item ended with that."""
    items, calls, last = tables.items, tables.calls, tables.attempts
    later = last.alias()
    ended_so = (
        sa.exists()
        .where(calls.c.job_id == items.c.job_id, calls.c.ix == items.c.ix)
        .where(calls.c.failure.is_not(None))
        .where(*_same_call(last, calls), last.c.outcome == _ALIASES.get(text, text))
        .where(~sa.exists().where(*_same_call(later, calls), later.c.n > last.c.n))
    )
    return items.c.reason.icontains(text, autoescape=True) | ended_so


def _same_call(attempts: sa.FromClause, calls: sa.Table) -> list[sa.ColumnElement[bool]]:
    return [attempts.c[name] == calls.c[name] for name in ("job_id", "ix", "key")]
