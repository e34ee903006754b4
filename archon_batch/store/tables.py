"""Every table, for statements."""

from sqlalchemy import Table
from sqlmodel import SQLModel

from archon_batch.store.registers import (
    Installation,
    Lease,
    Line,
    ModelLimits,
    Night,
    RowScore,
    Search,
    SearchJob,
    Trial,
    Worker,
)
from archon_batch.store.schema import Attempt, Call, Completion, Item, Job, Sum


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


jobs = _table(Job)
items = _table(Item)
calls = _table(Call)
attempts = _table(Attempt)
completions = _table(Completion)
nights = _table(Night)
limits = _table(ModelLimits)
scores = _table(RowScore)
workers = _table(Worker)
searches = _table(Search)
trials = _table(Trial)
search_jobs = _table(SearchJob)
sums = _table(Sum)
lines = _table(Line)
leases = _table(Lease)
installation = _table(Installation)
__all__ = [
    "attempts",
    "calls",
    "completions",
    "installation",
    "items",
    "jobs",
    "leases",
    "limits",
    "lines",
    "nights",
    "scores",
    "search_jobs",
    "searches",
    "sums",
    "trials",
    "workers",
]
