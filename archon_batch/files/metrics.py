"""Our metrics, and those that installed packages add to them."""

import importlib.metadata
from collections.abc import Mapping

from archon_batch.errors import InputError
from archon_batch.scoring import METRICS, Metric

#: Where packages register metrics, each under its name.
GROUP = "archon_batch.metrics"


def metric_kinds() -> Mapping[str, type[Metric]]:
    """Every metric that can be had here, by its name.

    Raises:
        InputError: one cannot be imported, is no whole metric, or takes the name of another.
    """
    kinds = dict(METRICS)
    for entry in importlib.metadata.entry_points(group=GROUP):
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
