"""Bayesian optimisation by Optuna's Tree-structured Parzen Estimator.

It proposes by Expected Improvement, the paper's acquisition (section 3.3): the ratio of densities
that it maximises grows with EI (Bergstra et al., 2011). Of several such proposals the one is taken
that asks least which was not asked before: improvement for its cost, as in Snoek et al. (2012),
arXiv 1206.2944, section 3.2. A proposal that is no valid point, or was
tried, is moved to the nearest that was not, so that no rejected one is ever scored.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from archon_batch.search.algorithms import Ground, Tried, at_random, dice
from archon_batch.search.axes import Axis, Point, Value

if TYPE_CHECKING:
    import optuna

#: Points of the dice's before the first model: Optuna's own count, and fewer where axes are few.
_STARTUP_BY_AXIS, _MOST_STARTUP = 2, 10
#: Of so many one is taken: of proposals the one with the fewest new requests.
_PROPOSALS = 16


def by_bayes(ground: Ground, tried: Sequence[Tried], count: int) -> list[Point]:
    """Points that a model of those tried expects most of.

    Points of one batch are proposed one after the other, each as if those before had been poor.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
    """
    # It takes seconds to import.
    import optuna  # noqa: PLC0415

    startup = min(_MOST_STARTUP, _STARTUP_BY_AXIS * len(ground.axes.axes))
    if len(tried) < startup:
        return _thrifty(ground, tried, count)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["maximize", "minimize"] if ground.pareto else ["maximize"],
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=0,
            multivariate=True,
            # Ask n falls the same whether or not the ones before were asked by this process.
            seed=dice(ground.seed, len(tried)).getrandbits(31),
        ),
    )
    for one in tried:
        study.add_trial(_trial(ground, one))
    worst = min(tried, key=lambda one: one.value)
    left = dict.fromkeys(ground.points)
    for one in tried:
        left.pop(one.point, None)
    shared = ground.shared
    seen = [(one.point, one.share) for one in tried]
    found: list[Point] = []
    while left and len(found) < count:
        proposed = [_proposed(ground, study, left) for _ in range(_PROPOSALS if shared else 1)]
        point = proposed[0]
        if shared is not None:
            # Those of a batch are run side by side, and share what they ask alike.
            known = shared.seen([*seen, *((p, 1.0) for p in found)])
            point = min(proposed, key=lambda p: shared.fresh(p, known))
        del left[point]
        found.append(point)
        study.add_trial(_trial(ground, Tried(point, worst.value, worst.cost)))
    return found


def _thrifty(ground: Ground, tried: Sequence[Tried], count: int) -> list[Point]:
    """Points of the dice's: the first as it falls, then of several the one that shares most."""
    shared = ground.shared
    if shared is None:
        return at_random(ground, tried, count)
    fallen = at_random(ground, tried, count * _PROPOSALS)
    seen = [(one.point, one.share) for one in tried]
    found: list[Point] = []
    while fallen and len(found) < count:
        # Where few are left, each of the batch has its part of them.
        part = min(_PROPOSALS, -(-len(fallen) // (count - len(found))))
        some, fallen = fallen[:part], fallen[part:]
        known = shared.seen([*seen, *((p, 1.0) for p in found)])
        # By its share and not by its calls, since the small ones are not to be tried first.
        found.append(min(some, key=lambda p: shared.fresh(p, known) / shared.fresh(p, {})))
    return found


def _proposed(ground: Ground, study: "optuna.Study", left: Collection[Point]) -> Point:
    """What the model expects most of, or the nearest to it that is valid and was not tried."""
    import optuna  # noqa: PLC0415

    asked = study.ask()
    point = ground.axes.walk(partial(_suggested, asked))
    study.tell(asked, state=optuna.trial.TrialState.FAIL)
    return point if point in left else min(left, key=partial(ground.axes.apart, point))


def _suggested(trial: "optuna.Trial", axis: Axis) -> Value:
    if axis.ordered:
        return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
    return cast("Value", trial.suggest_categorical(axis.name, axis.values))


def _trial(ground: Ground, one: Tried) -> "optuna.trial.FrozenTrial":
    import optuna  # noqa: PLC0415

    params: dict[str, Value] = {}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    chosen = one.point.as_data()
    for axis in ground.axes.axes:
        if axis.name not in chosen:
            continue
        value = chosen[axis.name]
        if axis.ordered:
            params[axis.name] = axis.values.index(value)
            distributions[axis.name] = optuna.distributions.IntDistribution(0, len(axis.values) - 1)
        else:
            params[axis.name] = value
            distributions[axis.name] = optuna.distributions.CategoricalDistribution(axis.values)
    values = [one.value, one.cost or 0.0] if ground.pareto else [one.value]
    return optuna.trial.create_trial(values=values, params=params, distributions=distributions)
