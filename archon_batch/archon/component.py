"""What every component of an architecture has and does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from archon_batch.archon.call import Message
from archon_batch.archon.marks import delimit_text
from archon_batch.archon.requests import Requests
from archon_batch.archon.state import ComponentWarning, Contribution, Question, State

#: What is contributed, and what did not go as asked.
ComponentRequests = Requests[tuple[Contribution, tuple[ComponentWarning, ...]]]

_INSTRUCTIONS = """\
The request was made under the instructions between marks below. A good response keeps to them; they \
say nothing about your own task."""
_TESTS = "A good response passes these unit tests, and does not mention them:"


@dataclass(frozen=True, slots=True)
class Context:
    """What a component sees: every component of a layer sees the same."""

    question: Question
    state: State
    #: Where the component stands: the ``layer.component`` that its candidates' ids begin with.
    position: str
    #: The tokens that a prompt of the component may have; None when the window is not known.
    max_prompt_tokens: int | None = None

    @property
    def query(self) -> str:
        """The query, and the unit tests that a response has to pass, if there are any."""
        if not self.state.unit_tests:
            return self.question.query
        return "\n\n".join((self.question.query, _TESTS, number_lines(self.state.unit_tests)))

    def instruction_parts(self, *other_text: str) -> tuple[str, ...]:
        """What the row's system messages say, as parts of a prompt; none when there are none.

        They stand between marks, lest they pass for the component's own. What else stands in the
        prompt is hashed into these, so that no candidate can write them.
        """
        told = self.question.instructions
        return (
            (_INSTRUCTIONS, delimit_text("instructions", told, "\n".join(other_text)))
            if told
            else ()
        )

    def build_messages(self, system_prompt: str, *parts: str) -> tuple[Message, ...]:
        """The messages of a component that talks about the query.

        Its own system message, the turns before the query, and one message with its words, which
        the row's instructions come before.
        """
        told = Message("user", "\n\n".join((*self.instruction_parts(*parts), *parts)))
        return (Message("system", system_prompt), *self.question.earlier_turns, told)


@dataclass(frozen=True, slots=True)
class CountRange:
    """At least and at most so many."""

    low: int
    high: int

    def __add__(self, other: "CountRange") -> "CountRange":
        return CountRange(self.low + other.low, self.high + other.high)

    def __mul__(self, times: int) -> "CountRange":
        return CountRange(self.low * times, self.high * times)

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}-{self.high:,}"


class Component(BaseModel, ABC):
    """One entry of a layer, as it is written and as it works.

    A subclass gives its ``type``, its own keys as fields, what it needs and makes, and ``steps``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: What has to be there: ``candidates``, ``critiques``, ``unit_tests``, or a name of another
    #: package's component.
    requires: ClassVar[frozenset[str]] = frozenset({"candidates"})
    #: What it looks at when it is there.
    reads: ClassVar[frozenset[str]] = frozenset()
    #: What it leaves for later layers. New candidates take the place of those before.
    produces: ClassVar[frozenset[str]] = frozenset()
    #: Keeps some of the candidates that come in, best first.
    selects: ClassVar[bool] = False

    type: str

    def effective_requires(self) -> frozenset[str]:
        """What has to be there for the component as it is written."""
        return self.requires

    def effective_produces(self) -> frozenset[str]:
        """What it leaves for later layers as it is written."""
        return self.produces

    @abstractmethod
    def run(self, context: Context) -> ComponentRequests:
        """Yield rounds of requests, then return what is contributed and what went wrong."""

    @abstractmethod
    def call_count(self, candidates: int) -> CountRange:
        """How many calls it makes of so many candidates, when every reply can be read."""

    def max_call_count(self, candidates: int) -> int:
        """How many calls it makes at the most, when replies cannot be read."""
        return self.call_count(candidates).high

    @abstractmethod
    def output_count(self, candidates: int) -> CountRange:
        """How many candidates it gives when so many come in and nothing fails."""


class ModelComponent(Component):
    """A component that asks a model."""

    #: An alias of the architecture's ``models``, or a model's own name.
    model: str = Field(min_length=1, max_length=200)
    #: The paper's value for every component.
    temperature: float = Field(default=0.7, ge=0, le=2, allow_inf_nan=False)
    #: The most tokens of one reply.
    max_tokens: int = Field(default=2048, ge=1, le=1_000_000)
    #: How often a reply that is blank or cannot be read is asked for again.
    retries: int = Field(default=2, ge=0, le=10)
    #: What is done when a prompt is too long for the model's window: give the item up, leave out
    #: the last candidates, or cut the longest.
    overflow: Literal["error", "drop_last", "truncate"] = "drop_last"

    def max_call_count(self, candidates: int) -> int:
        return self.call_count(candidates).high * (1 + self.retries)


def number_lines(lines: tuple[str, ...]) -> str:
    """Each after its number from 1; what has several lines, as code may, keeps them."""
    return "\n".join(f"{n}. {line.strip()}" for n, line in enumerate(lines, 1))
