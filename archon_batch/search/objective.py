"""What trials are worth."""

from collections.abc import Sequence
from statistics import fmean

from archon_batch.search.request import SearchRequest
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import RowOutcome, RowOutcomes


class Objective:
    """The score of a row, less what it costs by lambda."""

    def __init__(self, request: SearchRequest) -> None:
        self._request = request
        self._dataset_indexes = {
            case.id: case.dataset_index for case in (*request.dev, *request.held_out)
        }
        #: Whether it is the front of score and cost that is looked for.
        self.pareto = request.pareto

    def row_values(self, outcomes: RowOutcomes) -> dict[str, float]:
        """The objective, row by row."""
        return {row: self.row_value(outcome) for row, outcome in outcomes.items()}

    def row_value(self, outcome: RowOutcome) -> float:
        return outcome.score - self._request.weight * outcome.cost_in(self._request.amount)

    def dataset_index(self, row: str) -> int:
        """Which of the datasets the row is of."""
        return self._dataset_indexes[row]

    def value_of(self, outcomes: RowOutcomes) -> float:
        """The mean over the datasets, or the worst of them; minus infinity of no rows."""
        by: dict[int, list[float]] = {}
        for row, outcome in outcomes.items():
            by.setdefault(self.dataset_index(row), []).append(self.row_value(outcome))
        return self.combine_datasets([fmean(values) for values in by.values()])

    def combine_datasets(self, means: Sequence[float]) -> float:
        """What the means of the datasets come to."""
        if not means:
            return float("-inf")
        return min(means) if self._request.worst else fmean(means)


def mean_score(outcomes: RowOutcomes) -> float:
    return fmean(o.score for o in outcomes.values())


def rank_trials(trials: Sequence[Trial]) -> list[Trial]:
    """The best first; of alike ones the cheaper, then the earlier."""
    return sorted(trials, key=lambda t: (-(t.value or 0.0), t.usd or 0.0, t.number))


def all_complete(trials: Sequence[Trial]) -> bool:
    """Whether each of them saw all dev rows."""
    return all(t.state == "done" for t in trials)


def any_row_scored(trials: Sequence[Trial]) -> bool:
    """Whether any row of any of them scored anything: else there is nothing to tell them by."""
    return any(outcome.score for trial in trials for outcome in trial.dev.values())
