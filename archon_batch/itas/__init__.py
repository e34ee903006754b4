"""Inference-time architecture search, the paper's ITAS (section 3.3): a family of jobs.

Nothing of its progress is kept but its jobs: the same search asks for the same trials again, and
finds those that were run.
"""

from archon_batch.search.request import Plan, Runs, everyone_in, foreseen_by
from archon_batch.search.search import Search
from archon_batch.search.trial import Found, Trial, apart, interval, told

__all__ = [
    "Found",
    "Plan",
    "Runs",
    "Search",
    "Trial",
    "apart",
    "everyone_in",
    "foreseen_by",
    "interval",
    "told",
]
