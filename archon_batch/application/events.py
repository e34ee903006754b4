"""Events that a use case reports to its caller's callback while it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon_batch.store import Job


@dataclass(frozen=True, slots=True)
class Warned:
    """The user should know something; the use case continues."""

    text: str


@dataclass(frozen=True, slots=True)
class JobFound:
    """An equal submission made the job before."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """The job is stored; nothing has been sent yet."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobLeftStored:
    """The caller does not wait, and without a broker nobody else runs the job."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobHandedOver:
    """The workers run the job from here."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobProgressed:
    """The figures of a running job, as ``views.job_status`` returns them."""

    job: Job
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The user interrupted the run; calls in flight are awaited."""


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job no longer runs here: the last figures, and whether the user interrupted it."""

    job: Job
    figures: Mapping[str, Any]
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class NoWorkers:
    """No live worker consumes these queues, which the job needs."""

    queues: Sequence[str]


@dataclass(frozen=True, slots=True)
class Exported:
    """The answers are in a file."""

    path: Path


@dataclass(frozen=True, slots=True)
class PilotFound:
    """The same pilot was run to its end before."""

    job: Job


@dataclass(frozen=True, slots=True)
class PilotStarted:
    """A pilot begins: its rows, and its maximum cost in nano-dollars (None is unpriced)."""

    job: Job
    rows: int
    max_cost: int | None


@dataclass(frozen=True, slots=True)
class JudgeStarted:
    """The judge's job begins."""

    job: Job


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The job with a benchmark's answers to one turn begins."""

    name: str
    job: Job


@dataclass(frozen=True, slots=True)
class SearchProgressed:
    """A line about how far a search is."""

    text: str


Event = (
    Warned
    | JobFound
    | JobSubmitted
    | JobLeftStored
    | JobHandedOver
    | JobProgressed
    | StopRequested
    | JobEnded
    | NoWorkers
    | Exported
    | PilotFound
    | PilotStarted
    | JudgeStarted
    | TurnStarted
    | SearchProgressed
)

Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of a caller that wants no events."""
    del event
