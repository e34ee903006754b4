"""The request for a search, and the interface of what runs its trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from archon_batch.archon import Architecture
from archon_batch.jobs.forecast import DatasetSize, forecast, total_forecast
from archon_batch.money import NanoUsd, Price
from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.enumerate_space import RowEstimator
from archon_batch.search.search_state import Propose
from archon_batch.search.space import Space
from archon_batch.search.trial_jobs import (
    CallCounts,
    CostUnit,
    RowOutcomes,
    SearchRow,
    TrialRequest,
)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search, and how."""

    space: Space
    propose: Propose
    #: The largest number of trials.
    trials: int
    #: Trials of one batch; they run side by side.
    at_once: int
    dev: Sequence[SearchRow]
    held_out: Sequence[SearchRow]
    seed: int
    #: Lambda: how much a unit of ``amount`` per row counts against the score.
    weight: float = 0.0
    amount: CostUnit = "usd"
    #: Whether the worst dataset counts instead of the mean over datasets.
    worst: bool = False
    pareto: bool = False
    #: The search ends after this many trials without improvement; None runs all trials.
    patience: int | None = None
    #: Architectures that run on the held-out rows.
    finalists: int = 3
    #: Whether a trial is dropped early if it is significantly worse than the best.
    halving: bool = True


class TrialRunner(Protocol):
    """Runs architectures on rows: as jobs, or in memory in tests."""

    @property
    def call_counts(self) -> CallCounts: ...

    @property
    def budget_left(self) -> NanoUsd | None:
        """The rest of the budget; None without a budget."""

    def run(
        self, requests: Sequence[TrialRequest], budget_to_keep: NanoUsd = ...
    ) -> list[RowOutcomes]: ...


def architecture_of_all_models(space: Space) -> Architecture:
    """An architecture with every model that the search may call, to check prices and keys.

    Raises:
        ArchitectureError: the defaults are invalid for a generator.
    """
    roles = space.roles
    named = [*roles.generators, *space.fusers]
    named += [n for n in (roles.critic, roles.ranker, roles.verifier, roles.unit_tests) if n]
    return ArchitectureBuilder(space).all_models(dict.fromkeys(named))


def make_row_estimator(
    space: Space, prices: Mapping[str, Price | None], dataset_size: DatasetSize
) -> RowEstimator | None:
    """An estimator of tokens and USD per row; None if the space limits neither."""
    if not (space.limits.tokens or space.limits.usd):
        return None

    def estimate_row(architecture: Architecture) -> tuple[int, float | None]:
        expected = total_forecast(forecast(architecture, prices, dataset_size)).expected
        tokens = (expected.prompt_tokens + expected.completion_tokens) // dataset_size.rows
        return tokens, None if expected.cost is None else expected.cost / dataset_size.rows / 1e9

    return estimate_row
