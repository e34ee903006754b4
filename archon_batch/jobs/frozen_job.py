"""A job as placing and planning its calls need it."""

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
    #: By the model's own name; None is unpriced.
    prices: Mapping[str, Price | None]
    #: Whether completions that were paid for before are taken.
    use_cache: bool
    #: What its models were seen to count beyond what they were asked for, when it came here.
    overbilling: Mapping[str, Overbilling] = field(default_factory=dict)


def load_frozen_job(job: Job, component_types: Mapping[str, type[Component]]) -> FrozenJob:
    """The job from what it froze when it was made.

    Raises:
        ArchitectureError: a component it was made with is not installed here.
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
