"""A job as placing and planning its calls need it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archon_batch.archon import Architecture, Component, read_architecture
from archon_batch.money import Beyond, Price
from archon_batch.store import Job


@dataclass(frozen=True, slots=True)
class RunningJob:
    id: str
    name: str
    architecture: Architecture
    #: By the model's own name; None is unpriced.
    prices: Mapping[str, Price | None]
    #: Whether completions that were paid for before are taken.
    reuse: bool
    #: What its models were seen to count beyond what they were asked for, when it came here.
    beyond: Mapping[str, Beyond] = field(default_factory=dict)


def running(job: Job, kinds: Mapping[str, type[Component]]) -> RunningJob:
    """The job from what it froze when it was made.

    Raises:
        ArchitectureError: a component it was made with is not installed here.
    """
    architecture = read_architecture(dict(job.architecture), kinds)
    return RunningJob(
        id=job.id,
        name=job.name,
        architecture=replace(architecture, windows=job.options.get("windows", {})),
        prices=job.prices,
        reuse=bool(job.options.get("reuse", True)),
        beyond=job.beyond,
    )
