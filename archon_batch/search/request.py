"""What a search is to do, and whoever runs its architectures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from archon_batch.archon import Architecture
from archon_batch.jobs.forecast import Load, forecast, total
from archon_batch.money import NanoUsd, Price
from archon_batch.search import Builder, Foreseen, Propose, Space
from archon_batch.search.trial_jobs import Amount, Case, Outcomes, Tally, Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search is to do."""

    space: Space
    propose: Propose
    #: Architectures that are tried at the most.
    trials: int
    #: Of them, side by side.
    at_once: int
    dev: Sequence[Case]
    held_out: Sequence[Case]
    seed: int
    #: What a row's amount counts against its score.
    weight: float = 0.0
    amount: Amount = "usd"
    #: Several datasets: the worst of them counts, and not their mean.
    worst: bool = False
    pareto: bool = False
    #: Trials without a better one after which it ends; None is all trials.
    patience: int | None = None
    #: Architectures that are run on the held-out rows.
    finalists: int = 3
    #: Whether poor architectures are dropped after some of the rows.
    halving: bool = True


class Runs(Protocol):
    """Whoever runs architectures on rows: jobs, or the core alone where nothing is paid."""

    @property
    def tally(self) -> Tally: ...

    @property
    def left(self) -> NanoUsd | None:
        """What is left of the budget; None is no bound."""

    def run(self, wanted: Sequence[Wanted], keep: NanoUsd = ...) -> list[Outcomes]: ...


def everyone_in(space: Space) -> Architecture:
    """Every model of the roles, each asked once: whose prices and keys a search needs.

    Raises:
        ArchitectureError: the defaults do not suit a generator.
    """
    roles = space.roles
    named = [*roles.generators, *space.fusers]
    named += [n for n in (roles.critic, roles.ranker, roles.verifier, roles.unit_tests) if n]
    return Builder(space).everyone(dict.fromkeys(named))


def foreseen_by(space: Space, prices: Mapping[str, Price | None], load: Load) -> Foreseen | None:
    """What a row of an architecture takes as a rule; None where the space has no limit of it."""
    if not (space.limits.tokens or space.limits.usd):
        return None

    def foreseen(architecture: Architecture) -> tuple[int, float | None]:
        taken = total(forecast(architecture, prices, load)).expected
        tokens = (taken.prompt_tokens + taken.completion_tokens) // load.rows
        return tokens, None if taken.cost is None else taken.cost / load.rows / 1e9

    return foreseen
