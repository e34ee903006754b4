"""The objective of a search, and the ranking of trials by it."""

from collections.abc import Sequence
from statistics import fmean

from archon_batch.search.request import SearchRequest
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import RowOutcome, RowOutcomes


class Objective:
    """The score of a row minus lambda times its cost."""

    def __init__(self, request: SearchRequest) -> None:
        self._request = request
        self._dataset_indexes = {
            row.id: row.dataset_index for row in (*request.dev, *request.held_out)
        }
        #: Whether the search wants the Pareto front of score and cost.
        self.pareto = request.pareto

    def row_values(self, outcomes: RowOutcomes) -> dict[str, float]:
        """The objective by row id."""
        return {row: self.row_value(outcome) for row, outcome in outcomes.items()}

    def row_value(self, outcome: RowOutcome) -> float:
        return outcome.score - self._request.weight * outcome.cost_in(self._request.amount)

    def dataset_index(self, row: str) -> int:
        """Which dataset the row is from."""
        return self._dataset_indexes[row]

    def value_of(self, outcomes: RowOutcomes) -> float:
        """The mean over the datasets, or their minimum; minus infinity without rows."""
        by_dataset: dict[int, list[float]] = {}
        for row, outcome in outcomes.items():
            by_dataset.setdefault(self.dataset_index(row), []).append(self.row_value(outcome))
        return self.combine_datasets([fmean(values) for values in by_dataset.values()])

    def combine_datasets(self, means: Sequence[float]) -> float:
        """The mean of the datasets' means, or their minimum."""
        if not means:
            return float("-inf")
        return min(means) if self._request.worst else fmean(means)


def mean_score(outcomes: RowOutcomes) -> float:
    return fmean(o.score for o in outcomes.values())


def rank_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Best first; ties by cost, then by number."""
    return sorted(trials, key=lambda t: (-(t.value or 0.0), t.usd or 0.0, t.number))


def all_complete(trials: Sequence[Trial]) -> bool:
    """Whether every trial ran all dev rows."""
    return all(t.state == "done" for t in trials)


def any_row_scored(trials: Sequence[Trial]) -> bool:
    """Whether any row of any trial scored above 0: otherwise nothing distinguishes the trials."""
    return any(outcome.score for trial in trials for outcome in trial.dev.values())
