"""Why items failed, as a condition on the items that are opened again."""

import sqlalchemy as sa

from archon_batch.store import schema

#: Common names of outcomes that the ledger calls otherwise.
_ALIASES = {"timeout": "call_timeout"}


def matches_reason(text: str) -> sa.ColumnElement[bool]:
    """Whether the item's reason contains the text, or a failed call's last outcome equals it."""
    items, calls, last = schema.items, schema.calls, schema.attempts
    later = last.alias()
    last_outcome_matches = (
        sa.exists()
        .where(calls.c.job_id == items.c.job_id, calls.c.ix == items.c.ix)
        .where(calls.c.failure.is_not(None))
        .where(*_same_call(last, calls), last.c.outcome == _ALIASES.get(text, text))
        .where(
            ~sa.exists().where(
                *_same_call(later, calls), later.c.attempt_number > last.c.attempt_number
            )
        )
    )
    return items.c.reason.icontains(text, autoescape=True) | last_outcome_matches


def _same_call(attempts: sa.FromClause, calls: sa.Table) -> list[sa.ColumnElement[bool]]:
    return [attempts.c[name] == calls.c[name] for name in ("job_id", "ix", "key")]
