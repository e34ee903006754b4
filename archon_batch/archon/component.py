"""The base classes of components, and what a component gets to work with."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from archon_batch.archon.call import Message
from archon_batch.archon.delimiters import delimit_text
from archon_batch.archon.requests import Request, Requests, ask_text, gather
from archon_batch.archon.state import Candidate, ComponentWarning, Contribution, Question, State

#: What ``Component.run`` returns: rounds of requests, then a contribution and warnings.
ComponentRequests = Requests[tuple[Contribution, tuple[ComponentWarning, ...]]]

_INSTRUCTIONS = """\
The request was made under the instructions between marks below. A good response keeps to them; they \
say nothing about your own task."""
_TESTS = "A good response passes these unit tests, and does not mention them:"


@dataclass(frozen=True, slots=True)
class Context:
    """What a component sees. All components of a layer see the same state."""

    question: Question
    state: State
    #: ``layer.component``: the prefix of the ids of the component's candidates.
    position: str
    #: The tokens that a prompt may have; None if the model's context window is unknown.
    max_prompt_tokens: int | None = None

    @property
    def query(self) -> str:
        """The query, followed by the unit tests that a response must pass, if there are any."""
        if not self.state.unit_tests:
            return self.question.query
        return "\n\n".join((self.question.query, _TESTS, number_lines(self.state.unit_tests)))

    def instruction_parts(self, *other_text: str) -> tuple[str, ...]:
        """The row's system messages as parts of a prompt; empty if there are none.

        They are delimited, so that the model does not take them for the component's own
        instructions. ``other_text`` is the rest of the prompt: it is hashed into the delimiters, so
        that no candidate can contain them.
        """
        instructions = self.question.instructions
        if not instructions:
            return ()
        return (_INSTRUCTIONS, delimit_text("instructions", instructions, "\n".join(other_text)))

    def build_messages(self, system_prompt: str, *parts: str) -> tuple[Message, ...]:
        """The messages of a component that works on the query.

        They are the component's system prompt, the turns before the query, and one user message
        with the row's instructions and the parts.
        """
        content = "\n\n".join((*self.instruction_parts(*parts), *parts))
        return (
            Message("system", system_prompt),
            *self.question.earlier_turns,
            Message("user", content),
        )

    def shuffle_candidates(
        self, candidates: tuple[Candidate, ...], sample: int
    ) -> tuple[Candidate, ...]:
        """The candidates in a pseudo-random order, since models prefer the first.

        The order depends only on the item's id, the component's position, the sample and the
        candidates' ids. Over the items of a job every candidate has every position equally often.
        """

        def draw(candidate: Candidate) -> bytes:
            seed = "\0".join((self.question.id, self.position, str(sample), candidate.id))
            return hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()

        return tuple(sorted(candidates, key=draw))


@dataclass(frozen=True, slots=True)
class CountRange:
    """The least and the greatest value of a count."""

    low: int
    high: int

    def __add__(self, other: "CountRange") -> "CountRange":
        return CountRange(self.low + other.low, self.high + other.high)

    def __mul__(self, times: int) -> "CountRange":
        return CountRange(self.low * times, self.high * times)

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}-{self.high:,}"


class Component(BaseModel, ABC):
    """One entry of a layer: its keys in the architecture file, and its code.

    A subclass defines its ``type``, its keys as fields, what it requires and produces, and ``run``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: What an earlier layer must produce: ``candidates``, ``critiques``, ``unit_tests``, or a name
    #: that a component of another package produces.
    requires: ClassVar[frozenset[str]] = frozenset({"candidates"})
    #: What it reads if it is there.
    reads: ClassVar[frozenset[str]] = frozenset()
    #: What it produces for later layers. New candidates replace the candidates before them.
    produces: ClassVar[frozenset[str]] = frozenset()
    #: Whether it returns some of the candidates it receives, best first.
    selects: ClassVar[bool] = False

    type: str

    def effective_requires(self) -> frozenset[str]:
        """What this component requires, given its fields."""
        return self.requires

    def effective_produces(self) -> frozenset[str]:
        """What this component produces, given its fields."""
        return self.produces

    @abstractmethod
    def run(self, context: Context) -> ComponentRequests:
        """Yield rounds of requests, then return a contribution and warnings."""

    @abstractmethod
    def call_count(self, candidates: int) -> CountRange:
        """The number of calls for so many candidates, if every reply can be parsed."""

    def max_call_count(self, candidates: int) -> int:
        """The number of calls for so many candidates, if no reply can be parsed."""
        return self.call_count(candidates).high

    @abstractmethod
    def output_count(self, candidates: int) -> CountRange:
        """The number of candidates it returns for so many candidates, if nothing fails."""


class ModelComponent(Component):
    """A component that makes calls to a model."""

    #: An alias of the architecture's ``models``, or a model's own name.
    model: str = Field(min_length=1, max_length=200)
    #: The paper's value for every component.
    temperature: float = Field(default=0.7, ge=0, le=2, allow_inf_nan=False)
    #: The maximum of tokens of one reply.
    max_tokens: int = Field(default=2048, ge=1, le=1_000_000)
    #: How often to ask again after a blank or unparsed reply.
    retries: int = Field(default=2, ge=0, le=10)
    #: What to do if a prompt exceeds the model's context window: fail the item, leave out the last
    #: candidates, or truncate the longest.
    overflow: Literal["error", "drop_last", "truncate"] = "drop_last"

    def max_call_count(self, candidates: int) -> int:
        return self.call_count(candidates).high * (1 + self.retries)


class UsesCritiques(Component):
    """A mixin for components that can show each candidate with its critique."""

    reads: ClassVar[frozenset[str]] = frozenset({"critiques", "unit_tests"})

    #: true: critiques are required. false: they are not shown. None: they are shown if there are any.
    use_critiques: bool | None = None

    def effective_requires(self) -> frozenset[str]:
        return self.requires | {"critiques"} if self.use_critiques else self.requires

    def shows_critiques(self, shown: Sequence[Candidate]) -> bool:
        return self.use_critiques is not False and any(c.critique is not None for c in shown)


def generate_candidates(
    context: Context, requests: Sequence[Request], retries: int, parents: tuple[str, ...] = ()
) -> ComponentRequests:
    """Make the requests concurrently; each text becomes a candidate, named by its request's index.

    A failed request yields a warning and no candidate. If all of them fail, the item fails.
    """
    replies = yield from gather([ask_text(request, retries) for request in requests])
    candidates = tuple(
        Candidate(f"{context.position}.{request.index}", text, parents)
        for request, (text, _) in zip(requests, replies, strict=True)
        if text is not None
    )
    warnings = tuple(warning for _, given in replies for warning in given)
    missing = len(requests) - len(candidates)
    if missing:
        why = f"{missing} of {len(requests)} candidates are missing"
        warnings += (ComponentWarning("skipped", why),)
    return Contribution(candidates=candidates), warnings


def number_lines(lines: tuple[str, ...]) -> str:
    """The texts as a numbered list from 1. A text of several lines, such as code, keeps them."""
    return "\n".join(f"{n}. {line.strip()}" for n, line in enumerate(lines, 1))
