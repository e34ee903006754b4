"""The generator: candidates from the question alone."""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from archon_batch.archon.call import Message, without_system
from archon_batch.archon.component import Bounds, ModelComponent, Scene, Work
from archon_batch.archon.context_window import refuse_long
from archon_batch.archon.requests import Request
from archon_batch.archon.state import Contribution
from archon_batch.archon.texts import texts

_SYSTEM = "You are a helpful assistant."


class Generator(ModelComponent):
    needs: ClassVar[frozenset[str]] = frozenset()
    uses: ClassVar[frozenset[str]] = frozenset({"unit_tests"})
    makes: ClassVar[frozenset[str]] = frozenset({"candidates"})

    type: Literal["generator"]
    #: How many candidates it makes, each by a call of its own.
    samples: int = Field(default=1, ge=1, le=1000)
    #: Send no system message of our own, and the row's with its first message; ``no_system`` of a
    #: model does so for all components.
    no_system: bool = False

    def steps(self, scene: Scene) -> Work:
        messages = self._messages(scene)
        if refused := refuse_long(scene, self, messages):
            return Contribution(candidates=()), refused
        requests = [Request(slot, messages, sample=slot) for slot in range(self.samples)]
        return (yield from texts(scene, requests, self.retries))

    def _messages(self, scene: Scene) -> tuple[Message, ...]:
        *earlier, last = scene.question.messages
        messages = (*earlier, replace(last, content=scene.query))
        if self.no_system:
            return without_system(messages)
        if any(m.role == "system" for m in messages):
            return messages
        return (Message("system", _SYSTEM), *messages)

    def calls(self, candidates: int) -> Bounds:
        del candidates  # it never looks at them
        return Bounds(self.samples, self.samples)

    def leaves(self, candidates: int) -> Bounds:
        return self.calls(candidates)
