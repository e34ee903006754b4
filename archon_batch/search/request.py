"""What a search is to do, and whoever runs its architectures."""

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
    """What a search is to do."""

    space: Space
    propose: Propose
    #: Architectures that are tried at the most.
    trials: int
    #: Of them, side by side.
    at_once: int
    dev: Sequence[SearchRow]
    held_out: Sequence[SearchRow]
    seed: int
    #: What a row's amount counts against its score.
    weight: float = 0.0
    amount: CostUnit = "usd"
    #: Several datasets: the worst of them counts, and not their mean.
    worst: bool = False
    pareto: bool = False
    #: Trials without a better one after which it ends; None is all trials.
    patience: int | None = None
    #: Architectures that are run on the held-out rows.
    finalists: int = 3
    #: Whether poor architectures are dropped after some of the rows.
    halving: bool = True


class TrialRunner(Protocol):
    """Whoever runs architectures on rows: jobs, or the core alone where nothing is paid."""

    @property
    def call_counts(self) -> CallCounts: ...

    @property
    def budget_left(self) -> NanoUsd | None:
        """What is left of the budget; None is no bound."""

    def run(
        self, requests: Sequence[TrialRequest], budget_to_keep: NanoUsd = ...
    ) -> list[RowOutcomes]: ...


def architecture_of_all_models(space: Space) -> Architecture:
    """Every model of the roles, each asked once: whose prices and keys a search needs.

    Raises:
        ArchitectureError: the defaults do not suit a generator.
    """
    roles = space.roles
    named = [*roles.generators, *space.fusers]
    named += [n for n in (roles.critic, roles.ranker, roles.verifier, roles.unit_tests) if n]
    return ArchitectureBuilder(space).all_models(dict.fromkeys(named))


def make_row_estimator(
    space: Space, prices: Mapping[str, Price | None], dataset_size: DatasetSize
) -> RowEstimator | None:
    """What a row of an architecture takes as a rule; None where the space has no limit of it."""
    if not (space.limits.tokens or space.limits.usd):
        return None

    def foreseen(architecture: Architecture) -> tuple[int, float | None]:
        taken = total_forecast(forecast(architecture, prices, dataset_size)).expected
        tokens = (taken.prompt_tokens + taken.completion_tokens) // dataset_size.rows
        return tokens, None if taken.cost is None else taken.cost / dataset_size.rows / 1e9

    return foreseen
