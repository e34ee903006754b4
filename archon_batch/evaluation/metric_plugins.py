"""The built-in metrics and those that installed packages register."""

import importlib.metadata
from collections.abc import Mapping

from archon_batch.archon import suggestion
from archon_batch.config.text_files import text_or_file
from archon_batch.errors import InputError
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics import METRICS

#: The entry point group in which packages register metrics.
METRIC_ENTRY_POINTS = "archon_batch.metrics"


def parse_metric(text: str) -> Metric:
    """The metric for ``NAME``, ``NAME:ARGUMENT`` or ``NAME:@FILE``.

    Raises:
        InputError: the name is unknown, or the metric rejects the argument.
    """
    types = metric_types()
    name, colon, argument = text.partition(":")
    if name not in types:
        raise InputError(f"--metric: no metric {name!r:.60}; {suggestion(name, types)}")
    try:
        argument = text_or_file(argument)
    except ValueError as error:
        raise InputError(f"--metric: {error}") from None
    try:
        return types[name].from_argument(argument if colon else None)
    except ValueError as error:
        found = f"; found {argument[:60]!r}" if colon else ""
        raise InputError(f"--metric: {name} expects {error}{found}") from None


def metric_types() -> Mapping[str, type[Metric]]:
    """All metrics by name.

    Raises:
        InputError: a registered metric cannot be imported, is incomplete, or has a name in use.
    """
    types = dict(METRICS)
    for entry in importlib.metadata.entry_points(group=METRIC_ENTRY_POINTS):
        whose = f"{entry.dist.name if entry.dist else entry.value}: the metric {entry.name!r}"
        try:
            found = entry.load()
        except Exception as error:  # a package may do anything when it is imported
            raise InputError(f"{whose} cannot be imported: {error!r}") from error
        if not (isinstance(found, type) and issubclass(found, Metric)):
            raise InputError(f"{whose} is not a subclass of Metric: {entry.value}")
        if missing := ", ".join(sorted(found.__abstractmethods__)):
            raise InputError(f"{whose} lacks {missing}: {entry.value}")
        if entry.name in types:
            module = types[entry.name].__module__
            raise InputError(f"{whose} has the name of a metric in {module}")
        types[entry.name] = found
    return types
