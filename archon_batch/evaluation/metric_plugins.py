"""Our metrics, and those that installed packages add to them."""

import importlib.metadata
from collections.abc import Mapping

from archon_batch.archon import suggestion
from archon_batch.config.text_files import text_or_file
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics import METRICS

#: Where packages register metrics, each under its name.
METRIC_ENTRY_POINTS = "archon_batch.metrics"


def parse_metric(text: str) -> Metric:
    """The metric that ``NAME``, ``NAME:ARGUMENT`` or ``NAME:@FILE`` stands for.

    Raises:
        InputError: there is none of that name, or it does not take what stands behind it.
    """
    kinds = metric_types()
    name, colon, argument = text.partition(":")
    if name not in kinds:
        raise InputError(f"--metric: no metric {name!r:.60}; {suggestion(name, kinds)}")
    try:
        argument = text_or_file(argument)
    except ValueError as error:
        raise InputError(f"--metric: {error}") from None
    try:
        return kinds[name].from_argument(argument if colon else None)
    except ValueError as error:
        found = f"; found {argument[:60]!r}" if colon else ""
        raise InputError(f"--metric: {name} wants {error}{found}") from None


def metric_types() -> Mapping[str, type[Metric]]:
    """Every metric that can be had here, by its name.

    Raises:
        InputError: one cannot be imported, is no whole metric, or takes the name of another.
    """
    kinds = dict(METRICS)
    for entry in importlib.metadata.entry_points(group=METRIC_ENTRY_POINTS):
        whose = f"{entry.dist.name if entry.dist else entry.value}: the metric {entry.name!r}"
        try:
            found = entry.load()
        except Exception as error:  # a package may do anything when it is imported
            raise InputError(f"{whose} cannot be imported: {error!r}") from error
        if not (isinstance(found, type) and issubclass(found, Metric)):
            raise InputError(f"{whose} is no metric: {entry.value}")
        if lacking := ", ".join(sorted(found.__abstractmethods__)):
            raise InputError(f"{whose} has no {lacking}: {entry.value}")
        if entry.name in kinds:
            where = kinds[entry.name].__module__
            raise InputError(f"{whose} is there already: {where}")
        kinds[entry.name] = found
    return kinds
