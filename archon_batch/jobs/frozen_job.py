"""A job as planning and executing its calls need it: all that was frozen at submission."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archon_batch.archon import Architecture, Component, read_architecture
from archon_batch.money import Overbilling, Price
from archon_batch.store import Job


@dataclass(frozen=True, slots=True)
class FrozenJob:
    id: str
    name: str
    architecture: Architecture
    #: By the model's own name, not its alias; None is unpriced.
    prices: Mapping[str, Price | None]
    #: Whether replies in the completion cache are used.
    use_cache: bool
    #: What its models billed beyond the request, as of when the job was loaded.
    overbilling: Mapping[str, Overbilling] = field(default_factory=dict)


def load_frozen_job(job: Job, component_types: Mapping[str, type[Component]]) -> FrozenJob:
    """Read the job's frozen architecture, prices and options.

    Raises:
        ArchitectureError: a component of its architecture is not installed here.
    """
    architecture = read_architecture(dict(job.architecture), component_types)
    return FrozenJob(
        id=job.id,
        name=job.name,
        architecture=replace(architecture, context_windows=job.options.get("windows", {})),
        prices=job.prices,
        use_cache=bool(job.options.get("reuse", True)),
        overbilling=job.overbilling,
    )
