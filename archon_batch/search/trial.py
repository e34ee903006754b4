"""Trials of a search, and what they came to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archon_batch.archon import Architecture
from archon_batch.evaluation.statistics import bootstrap_mean, paired_difference
from archon_batch.search.axes import Point
from archon_batch.search.trial_jobs import RowOutcomes, mean_calls, mean_tokens, mean_usd
from archon_batch.store import TrialRecord


@dataclass(slots=True)
class Trial:
    number: int
    stage: str
    label: str
    architecture: Architecture
    point: Point | None = None
    #: running, dropped (after a rung), done, cut (by the budget), or left (a model of it is silent).
    state: str = "running"
    dev: RowOutcomes = field(default_factory=dict)
    #: Of rows by which the winner was chosen among the finalists.
    choice: RowOutcomes = field(default_factory=dict)
    #: Of rows that had no part in any choice.
    held_out: RowOutcomes = field(default_factory=dict)
    #: What the algorithm is told.
    value: float | None = None

    @property
    def usd(self) -> float | None:
        return mean_usd(self.dev)


@dataclass(slots=True)
class SearchResult:
    """What a search came to."""

    #: Why it ended, in words.
    end_reason: str
    #: Whether the budget ended it.
    is_budget_exhausted: bool
    combinations: int
    architecture_count: int
    excluded: Mapping[str, int]
    #: Models that replied to none of their calls, and left the search.
    unresponsive_models: tuple[str, ...] = ()
    trials: list[Trial] = field(default_factory=list)
    winner: Trial | None = None
    #: The best of those that were tried in full, in order.
    finalists: list[Trial] = field(default_factory=list)
    best_single: Trial | None = None
    #: Self-consistency of the best single model, at the winner's cost.
    self_consistency: Trial | None = None
    pareto_front: list[Trial] = field(default_factory=list)
    #: Calls of stage 0 and the trials: paid, found again, and those of one trial after the other.
    paid_calls: int = 0
    cached_calls: int = 0
    sequential_calls: int = 0
    held_out_calls: int = 0


class TrialLog:
    """Every trial of a search, in the order they were asked for."""

    def __init__(self, record: Callable[[TrialRecord], None], seed: int) -> None:
        self.trials: list[Trial] = []
        #: Puts a trial on record, before it runs and whenever something has come of it.
        self._record = record
        self._seed = seed

    def add(
        self, stage: str, label: str, architecture: Architecture, point: Point | None = None
    ) -> Trial:
        n = len(self.trials)
        trial = Trial(n, stage, label or architecture.name, architecture, point)
        self.trials.append(trial)
        self.save(trial)
        return trial

    def save(self, trial: Trial) -> None:
        self._record(TrialRecord(trial.number, trial.stage, trial_to_json(trial, self._seed)))


def trial_to_json(trial: Trial, seed: int) -> dict[str, Any]:
    """A trial as plain data: the shape of ``search show --json``."""
    outcomes = trial.dev or trial.held_out
    return {
        "n": trial.number,
        "stage": trial.stage,
        "label": trial.label,
        "state": trial.state,
        "point": None if trial.point is None else trial.point.as_data(),
        "value": trial.value,
        "dev": mean_score_interval(trial.dev, seed),
        "choice": mean_score_interval(trial.choice, seed),
        "held_out": mean_score_interval(trial.held_out, seed),
        "usd_per_row": mean_usd(outcomes),
        "calls_per_row": mean_calls(outcomes),
        "tokens_per_row": mean_tokens(outcomes),
        "architecture": trial.architecture.to_dict(),
    }


def mean_score_interval(outcomes: RowOutcomes, seed: int) -> dict[str, Any] | None:
    """The mean score with its 95 % interval."""
    found = bootstrap_mean([o.score for o in outcomes.values()], seed)
    if found is None:
        return None
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def score_difference(ours: RowOutcomes, theirs: RowOutcomes, seed: int) -> dict[str, Any] | None:
    """How much higher ours is over the rows of both, with its 95 % interval."""
    rows = [row for row in ours if row in theirs]
    found = paired_difference([ours[r].score for r in rows], [theirs[r].score for r in rows], seed)
    if found is None:
        return None
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}
