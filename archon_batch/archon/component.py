"""What every component of an architecture has and does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from archon_batch.archon.call import Message
from archon_batch.archon.state import Contribution, Question, State
from archon_batch.archon.steps import Reading, Steps


@dataclass(frozen=True, slots=True)
class Scene:
    """What a component sees: every component of a layer sees the same."""

    question: Question
    state: State
    #: Where the component stands: the ``layer.component`` that its candidates' ids begin with.
    place: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least and at most so many."""

    low: int
    high: int

    def __add__(self, other: "Bounds") -> "Bounds":
        return Bounds(self.low + other.low, self.high + other.high)


class Component(BaseModel, ABC):
    """One entry of a layer, as it is written and as it works.

    A subclass gives its ``type``, its own keys as fields, and ``steps``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: Needs candidates to work on, so it cannot stand in the first layer.
    needs_candidates: ClassVar[bool] = True
    #: Makes candidates of its own.
    makes_candidates: ClassVar[bool] = False
    #: Keeps some of the candidates that come in, best first.
    chooses_candidates: ClassVar[bool] = False
    #: Writes, or looks at, critiques.
    writes_critiques: ClassVar[bool] = False
    reads_critiques: ClassVar[bool] = False

    type: str
    #: An alias of the architecture's ``models``, or a model's own name.
    model: str = Field(min_length=1, max_length=200)
    #: The paper's value for every component.
    temperature: float = Field(default=0.7, ge=0, le=2, allow_inf_nan=False)
    #: The most tokens of one reply.
    max_tokens: int = Field(default=2048, ge=1, le=1_000_000)
    #: How often a reply that cannot be read is asked for again.
    retries: int = Field(default=2, ge=0, le=10)

    @abstractmethod
    def steps(self, scene: Scene) -> Steps[tuple[Contribution, tuple[Reading, ...]]]:
        """Yield rounds of requests, then return what is contributed and how the asking went."""

    @abstractmethod
    def calls(self, candidates: int) -> Bounds:
        """How many calls it makes of so many candidates, when no call fails."""

    @abstractmethod
    def leaves(self, candidates: int) -> int:
        """How many candidates it gives when so many come in and nothing fails."""


def about(question: Question, role: str, *parts: str) -> tuple[Message, ...]:
    """The messages of a component that talks about the question's query.

    Its own system message, the turns before the query, and one message with the component's words.
    """
    return (
        Message("system", role),
        *question.earlier,
        Message("user", "\n\n".join(parts)),
    )
