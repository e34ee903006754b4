"""What trials are worth."""

from collections.abc import Sequence
from statistics import fmean

from archon_batch.search.request import Plan
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import Outcome, Outcomes


class Objective:
    """The score of a row, less what it costs by lambda."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._origins = {case.id: case.origin for case in (*plan.dev, *plan.held_out)}
        #: Whether it is the front of score and cost that is looked for.
        self.pareto = plan.pareto

    def values(self, outcomes: Outcomes) -> dict[str, float]:
        """The objective, row by row."""
        return {row: self.value(outcome) for row, outcome in outcomes.items()}

    def value(self, outcome: Outcome) -> float:
        return outcome.score - self._plan.weight * outcome.took(self._plan.amount)

    def origin(self, row: str) -> int:
        """Which of the datasets the row is of."""
        return self._origins[row]

    def of(self, outcomes: Outcomes) -> float:
        """The mean over the datasets, or the worst of them; minus infinity of no rows."""
        by: dict[int, list[float]] = {}
        for row, outcome in outcomes.items():
            by.setdefault(self.origin(row), []).append(self.value(outcome))
        return self.put_together([fmean(values) for values in by.values()])

    def put_together(self, means: Sequence[float]) -> float:
        """What the means of the datasets come to."""
        if not means:
            return float("-inf")
        return min(means) if self._plan.worst else fmean(means)


def mean_score(outcomes: Outcomes) -> float:
    return fmean(o.score for o in outcomes.values())


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first; of alike ones the cheaper, then the earlier."""
    return sorted(trials, key=lambda t: (-(t.value or 0.0), t.usd or 0.0, t.n))


def are_whole(trials: Sequence[Trial]) -> bool:
    """Whether each of them saw all dev rows."""
    return all(t.state == "done" for t in trials)


def has_scored(trials: Sequence[Trial]) -> bool:
    """Whether any row of any of them scored anything: else there is nothing to tell them by."""
    return any(outcome.score for trial in trials for outcome in trial.dev.values())
