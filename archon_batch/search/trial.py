"""Trials of a search, and the result of a search."""

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
    #: running, done, dropped (early), unfinished (no budget left), excluded (unresponsive model).
    state: str = "running"
    dev: RowOutcomes = field(default_factory=dict)
    #: On the held-out rows that choose the winner among the finalists.
    choice: RowOutcomes = field(default_factory=dict)
    #: On the held-out rows of the report.
    held_out: RowOutcomes = field(default_factory=dict)
    #: The objective, as the search algorithm sees it.
    value: float | None = None

    @property
    def usd(self) -> float | None:
        return mean_usd(self.dev)


@dataclass(slots=True)
class SearchResult:
    """The result of a search."""

    #: Why the search ended, in words.
    end_reason: str
    #: Whether the search ended because its budget was used up.
    is_budget_exhausted: bool
    combinations: int
    architecture_count: int
    #: Number of excluded points by reason.
    excluded: Mapping[str, int]
    #: Models that replied to none of their calls; the search excludes them.
    unresponsive_models: tuple[str, ...] = ()
    trials: list[Trial] = field(default_factory=list)
    winner: Trial | None = None
    #: The best of the trials that ran all dev rows, best first.
    finalists: list[Trial] = field(default_factory=list)
    best_single: Trial | None = None
    #: Self-consistency of the best single model, at the same cost as the winner.
    self_consistency: Trial | None = None
    pareto_front: list[Trial] = field(default_factory=list)
    #: Calls on dev rows: paid, cached, and those of all trials without sharing or early stopping.
    paid_calls: int = 0
    cached_calls: int = 0
    sequential_calls: int = 0
    held_out_calls: int = 0


class TrialLog:
    """All trials of a search, in order of their numbers."""

    def __init__(self, record: Callable[[TrialRecord], None], seed: int) -> None:
        self.trials: list[Trial] = []
        #: Stores a trial: before it runs, and whenever it has new results.
        self._record = record
        self._seed = seed

    def add(
        self, stage: str, label: str, architecture: Architecture, point: Point | None = None
    ) -> Trial:
        trial = Trial(len(self.trials), stage, label or architecture.name, architecture, point)
        self.trials.append(trial)
        self.save(trial)
        return trial

    def save(self, trial: Trial) -> None:
        self._record(TrialRecord(trial.number, trial.stage, trial_to_json(trial, self._seed)))


def trial_to_json(trial: Trial, seed: int) -> dict[str, Any]:
    """The trial in the shape of ``search show --json``."""
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
    """The mean score with its 95 % interval; None without rows."""
    mean = bootstrap_mean([outcome.score for outcome in outcomes.values()], seed)
    return None if mean is None else mean.to_json()


def score_difference(outcomes: RowOutcomes, other: RowOutcomes, seed: int) -> dict[str, Any] | None:
    """The mean of ``outcomes`` minus ``other`` over their common rows, with its 95 % interval."""
    rows = [row for row in outcomes if row in other]
    difference = paired_difference(
        [outcomes[row].score for row in rows], [other[row].score for row in rows], seed
    )
    return None if difference is None else difference.to_json()
