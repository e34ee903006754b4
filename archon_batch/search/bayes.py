"""Bayesian optimisation by Optuna's Tree-structured Parzen Estimator.

It proposes by Expected Improvement, the paper's acquisition (section 3.3): the ratio of densities
that it maximises grows with EI (Bergstra et al., 2011). A proposal that is no valid point, or was
tried, is moved to the nearest that was not, so that no rejected one is ever scored; and where it is
known what architectures ask alike, to the nearest of which most is paid for already.
"""

import heapq
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from archon_batch.search.algorithms import Observation, SearchState, propose_random, seeded_rng
from archon_batch.search.axes import Axis, Point, Value

if TYPE_CHECKING:
    import optuna

#: Points of the dice's before the first model: Optuna's own count, and fewer where axes are few.
_STARTUP_BY_AXIS, _MAX_STARTUP = 2, 10
#: The most of a point's calls that may be new, where there is such a point near by.
_MAX_UNPAID_SHARE = 0.15
#: Points that are near by.
_NEIGHBOURS = 256


def propose_bayes(
    state: SearchState, observations: Sequence[Observation], count: int
) -> list[Point]:
    """Points that a model of those tried expects most of.

    Points of one batch are proposed one after the other, each as if those before had been poor.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
    """
    # It takes seconds to import.
    import optuna  # noqa: PLC0415

    startup = min(_MAX_STARTUP, _STARTUP_BY_AXIS * len(state.axes.axes))
    if len(observations) < startup:
        fallen = propose_random(state, observations, count)
        return _propose_untried(state, observations, count, lambda found: fallen[len(found)])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["maximize", "minimize"] if state.pareto else ["maximize"],
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=0,
            multivariate=True,
            # Ask n falls the same whether or not the ones before were asked by this process.
            seed=seeded_rng(state.seed, len(observations)).getrandbits(31),
        ),
    )
    for one in observations:
        study.add_trial(_optuna_trial(state, one))
    worst = min(observations, key=lambda one: one.value)

    def proposed(found: Sequence[Point]) -> Point:
        if found:
            study.add_trial(_optuna_trial(state, Observation(found[-1], worst.value, worst.cost)))
        asked = study.ask()
        point = state.axes.walk(partial(_suggest_value, asked))
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return point

    return _propose_untried(state, observations, count, proposed)


def _propose_untried(
    state: SearchState,
    observations: Sequence[Observation],
    count: int,
    propose: Callable[[Sequence[Point]], Point],
) -> list[Point]:
    """So many points, each proposed by those found before, and put where it may be tried."""
    left = dict.fromkeys(state.points)
    for one in observations:
        left.pop(one.point, None)
    found: list[Point] = []
    while left and len(found) < count:
        point = _nearest_cheap_point(state, observations, found, left, propose(found))
        del left[point]
        found.append(point)
    return found


def _nearest_cheap_point(
    state: SearchState,
    observations: Sequence[Observation],
    found: Sequence[Point],
    left: Collection[Point],
    proposed: Point,
) -> Point:
    """The proposed point, or the nearest that is left of which most is paid for already.

    Where none near by is, the one of which most is. The very first stays where it is.
    """
    apart, shared = partial(state.axes.distance_between, proposed), state.shared_calls
    if shared is None or not (observations or found):
        return proposed if proposed in left else min(left, key=apart)
    # Those of a batch are run side by side, and share what they ask alike.
    known = shared.request_coverage(
        [*((t.point, t.row_share) for t in observations), *((p, 1.0) for p in found)]
    )
    best, least = proposed, float("inf")
    for point in heapq.nsmallest(_NEIGHBOURS, left, key=apart):
        new = shared.unpaid_share(point, known)
        if new <= _MAX_UNPAID_SHARE:
            return point
        if new < least:
            best, least = point, new
    return best


def _suggest_value(trial: "optuna.Trial", axis: Axis) -> Value:
    if axis.ordered:
        return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
    return cast("Value", trial.suggest_categorical(axis.name, axis.values))


def _optuna_trial(state: SearchState, one: Observation) -> "optuna.trial.FrozenTrial":
    import optuna  # noqa: PLC0415

    params: dict[str, Value] = {}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    chosen = one.point.as_data()
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
    values = [one.value, one.cost or 0.0] if state.pareto else [one.value]
    return optuna.trial.create_trial(values=values, params=params, distributions=distributions)
