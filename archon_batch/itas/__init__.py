"""Inference-time architecture search, the paper's ITAS (section 3.3): a family of jobs.

Nothing of its progress is kept but its jobs: the same search asks for the same trials again, and
finds those that were run.
"""

from archon_batch.search.request import (
    SearchRequest,
    TrialRunner,
    architecture_of_all_models,
    make_row_estimator,
)
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial import (
    SearchResult,
    Trial,
    mean_score_interval,
    score_difference,
    trial_to_json,
)

__all__ = [
    "ArchitectureSearch",
    "SearchRequest",
    "SearchResult",
    "Trial",
    "TrialRunner",
    "architecture_of_all_models",
    "make_row_estimator",
    "mean_score_interval",
    "score_difference",
    "trial_to_json",
]
