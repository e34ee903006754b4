"""What trials are worth."""

from collections.abc import Sequence
from statistics import fmean

from archon_batch.itas.plan import Plan
from archon_batch.itas.trial import Trial
from archon_batch.trials import Case, Outcome, Outcomes


class Objective:
    """The score of a row, less what it costs by lambda."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def values(self, outcomes: Outcomes) -> dict[str, float]:
        """The objective, row by row."""
        return {row: self.value(outcome) for row, outcome in outcomes.items()}

    def value(self, outcome: Outcome) -> float:
        return outcome.score - self._plan.weight * outcome.took(self._plan.amount)

    def aggregated(self, outcomes: Outcomes, cases: Sequence[Case]) -> float:
        """The mean over the datasets, or the worst of them."""
        by: dict[int, list[float]] = {}
        for case in cases:
            if case.id in outcomes:
                by.setdefault(case.origin, []).append(self.value(outcomes[case.id]))
        means = [fmean(values) for values in by.values()] or [float("-inf")]
        return min(means) if self._plan.worst else fmean(means)


def mean_score(outcomes: Outcomes) -> float:
    return fmean(o.score for o in outcomes.values())


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first; of alike ones the cheaper, then the earlier."""
    return sorted(trials, key=lambda t: (-(t.value or 0.0), t.usd or 0.0, t.n))


def are_whole(trials: Sequence[Trial]) -> bool:
    """Whether each of them saw all dev rows."""
    return all(t.state == "done" for t in trials)
