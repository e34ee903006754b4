"""Every table, for statements."""

from sqlalchemy import Table
from sqlmodel import SQLModel

from archon_batch.store.registers import (
    InstallationTable,
    LeaseTable,
    RateLimitTable,
    RowScoreTable,
    ScheduledRunTable,
    SearchJobTable,
    SearchTable,
    ShardCursorTable,
    TrialTable,
    WorkerTable,
)
from archon_batch.store.schema import (
    AttemptTable,
    CallTable,
    CompletionTable,
    ItemTable,
    JobTable,
    UsageTotalTable,
)


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


jobs = _table(JobTable)
items = _table(ItemTable)
calls = _table(CallTable)
attempts = _table(AttemptTable)
completions = _table(CompletionTable)
scheduled_runs = _table(ScheduledRunTable)
rate_limits = _table(RateLimitTable)
scores = _table(RowScoreTable)
workers = _table(WorkerTable)
searches = _table(SearchTable)
trials = _table(TrialTable)
search_jobs = _table(SearchJobTable)
usage_totals = _table(UsageTotalTable)
shard_cursors = _table(ShardCursorTable)
leases = _table(LeaseTable)
installation = _table(InstallationTable)
__all__ = [
    "attempts",
    "calls",
    "completions",
    "installation",
    "items",
    "jobs",
    "leases",
    "rate_limits",
    "scheduled_runs",
    "scores",
    "search_jobs",
    "searches",
    "shard_cursors",
    "trials",
    "usage_totals",
    "workers",
]
