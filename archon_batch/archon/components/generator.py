"""The generator: candidates from the question alone."""

from typing import ClassVar, Literal

from pydantic import Field

from archon_batch.archon.call import Message
from archon_batch.archon.component import Bounds, Component, Scene
from archon_batch.archon.state import Candidate, Contribution, Question
from archon_batch.archon.steps import Reading, Steps
from archon_batch.archon.texts import texts

_SYSTEM = "You are a helpful assistant."


class Generator(Component):
    needs_candidates: ClassVar[bool] = False
    makes_candidates: ClassVar[bool] = True

    type: Literal["generator"]
    #: How many candidates it makes, each by a call of its own.
    samples: int = Field(default=1, ge=1, le=1000)
    #: Send no system message, for models that take none.
    no_system: bool = False

    def steps(self, scene: Scene) -> Steps[tuple[Contribution, tuple[Reading, ...]]]:
        messages = self._messages(scene.question)
        made, readings = yield from texts(messages, self.samples)
        candidates = tuple(Candidate(f"{scene.place}.{slot}", text) for slot, text in made)
        return Contribution(candidates=candidates), readings

    def _messages(self, question: Question) -> tuple[Message, ...]:
        if self.no_system:
            return tuple(m for m in question.messages if m.role != "system")
        if any(m.role == "system" for m in question.messages):
            return question.messages
        return (Message("system", _SYSTEM), *question.messages)

    def calls(self, candidates: int) -> Bounds:
        del candidates  # it never looks at them
        return Bounds(self.samples, self.samples)

    def leaves(self, candidates: int) -> int:
        del candidates
        return self.samples
