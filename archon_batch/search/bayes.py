"""Bayesian optimisation by Optuna's Tree-structured Parzen Estimator (TPE).

TPE maximises Expected Improvement, the paper's acquisition function (section 3.3): the ratio of
densities that it maximises grows with EI (Bergstra et al., 2011). A proposal that is invalid or
already tried moves to the nearest valid untried point, so no invalid point is ever scored. If it is
known which requests the architectures share, it moves to the nearest point that is mostly paid for.
"""

import heapq
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from archon_batch.errors import InputError
from archon_batch.search.axes import Axis, Point, Value
from archon_batch.search.search_state import Observation, SearchState, seeded_rng, untried_points

if TYPE_CHECKING:
    import optuna

#: Random points before the first model: Optuna's own ten, or fewer if the space has few axes.
_STARTUP_BY_AXIS, _MAX_STARTUP = 2, 10
#: The largest share of new calls that a nearby point may have to be taken at once.
_MAX_UNPAID_SHARE = 0.15
#: How many of the nearest points count as nearby.
_NEIGHBOURS = 256


def propose_bayes(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """The points from which a model of the observations expects most.

    The points of one batch are proposed one by one, each as if those before had scored worst.

    Raises:
        ModuleNotFoundError: Optuna is not installed; ``check_optuna_installed`` says so early.
    """
    # The import takes seconds.
    import optuna  # noqa: PLC0415

    startup = min(_MAX_STARTUP, _STARTUP_BY_AXIS * len(state.axes.axes))
    if len(observations) < startup:
        random_points = untried_points(state.shuffled_points(), observations, count)
        return _propose_untried(
            state, observations, count, lambda proposed: random_points[len(proposed)]
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["maximize", "minimize"] if state.pareto else ["maximize"],
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=0,
            multivariate=True,
            # Proposal n is the same whether or not this process made the proposals before it.
            seed=seeded_rng(state.seed, len(observations)).getrandbits(31),
        ),
    )
    for observation in observations:
        study.add_trial(_optuna_trial(state, observation))
    worst = min(observations, key=lambda one: one.value)

    def propose_next(proposed: Sequence[Point]) -> Point:
        if proposed:
            pessimistic = Observation(proposed[-1], worst.value, worst.cost)
            study.add_trial(_optuna_trial(state, pessimistic))
        trial = study.ask()
        point = state.axes.walk(partial(_suggest_value, trial))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return point

    return _propose_untried(state, observations, count, propose_next)


def check_optuna_installed() -> None:
    """Check that the algorithm can run, before the search pays for its first call.

    Raises:
        InputError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise InputError("--algorithm bayes needs: pip install archon-batch[search]")


def _propose_untried(
    state: SearchState,
    observations: Sequence[Observation],
    count: int,
    propose_next: Callable[[Sequence[Point]], Point],
) -> list[Point]:
    """``count`` proposals, each moved to a valid point that is neither tried nor proposed yet."""
    untried = dict.fromkeys(state.points)
    for observation in observations:
        untried.pop(observation.point, None)
    proposed: list[Point] = []
    while untried and len(proposed) < count:
        point = _nearest_cheap_point(state, observations, proposed, untried, propose_next(proposed))
        del untried[point]
        proposed.append(point)
    return proposed


def _nearest_cheap_point(
    state: SearchState,
    observations: Sequence[Observation],
    proposed: Sequence[Point],
    untried: Collection[Point],
    wanted: Point,
) -> Point:
    """The nearest untried point that is mostly paid for, else the most paid of the nearby points.

    Without knowledge of shared calls, and for the very first point, just the nearest.
    """
    distance, shared_calls = partial(state.axes.distance_between, wanted), state.shared_calls
    if shared_calls is None or not (observations or proposed):
        return wanted if wanted in untried else min(untried, key=distance)
    # Points of one batch run side by side and share their common requests.
    coverage = shared_calls.request_coverage(
        [*((one.point, one.row_share) for one in observations), *((p, 1.0) for p in proposed)]
    )
    best, least = wanted, float("inf")
    for point in heapq.nsmallest(_NEIGHBOURS, untried, key=distance):
        unpaid = shared_calls.unpaid_share(point, coverage)
        if unpaid <= _MAX_UNPAID_SHARE:
            return point
        if unpaid < least:
            best, least = point, unpaid
    return best


def _suggest_value(trial: "optuna.Trial", axis: Axis) -> Value:
    if axis.ordered:
        return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
    return cast("Value", trial.suggest_categorical(axis.name, axis.values))


def _optuna_trial(state: SearchState, observation: Observation) -> "optuna.trial.FrozenTrial":
    import optuna  # noqa: PLC0415

    params: dict[str, Value] = {}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    chosen = observation.point.as_data()
    for axis in state.axes.axes:
        if axis.name not in chosen:
            continue
        value = chosen[axis.name]
        if axis.ordered:
            params[axis.name] = axis.values.index(value)
            distributions[axis.name] = optuna.distributions.IntDistribution(0, len(axis.values) - 1)
        else:
            params[axis.name] = value
            distributions[axis.name] = optuna.distributions.CategoricalDistribution(axis.values)
    value_and_cost = [observation.value, observation.cost or 0.0]
    values = value_and_cost if state.pareto else value_and_cost[:1]
    return optuna.trial.create_trial(values=values, params=params, distributions=distributions)
