"""The generator: candidates from the question alone."""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from archon_batch.archon.call import Message, merge_system_messages
from archon_batch.archon.component import (
    ComponentRequests,
    Context,
    CountRange,
    ModelComponent,
    generate_candidates,
)
from archon_batch.archon.context_window import check_length
from archon_batch.archon.requests import Request
from archon_batch.archon.state import Contribution

_SYSTEM = "You are a helpful assistant."


class Generator(ModelComponent):
    requires: ClassVar[frozenset[str]] = frozenset()
    reads: ClassVar[frozenset[str]] = frozenset({"unit_tests"})
    produces: ClassVar[frozenset[str]] = frozenset({"candidates"})

    type: Literal["generator"]
    #: How many candidates it makes, each by a call of its own.
    samples: int = Field(default=1, ge=1, le=1000)
    #: Send no system message of our own, and the row's with its first message; ``no_system`` of a
    #: model does so for all components.
    no_system: bool = False

    def run(self, context: Context) -> ComponentRequests:
        messages = self._messages(context)
        if refused := check_length(context, self, messages):
            return Contribution(candidates=()), refused
        requests = [Request(slot, messages, sample=slot) for slot in range(self.samples)]
        return (yield from generate_candidates(context, requests, self.retries))

    def _messages(self, context: Context) -> tuple[Message, ...]:
        *earlier, last = context.question.messages
        messages = (*earlier, replace(last, content=context.query))
        if self.no_system:
            return merge_system_messages(messages)
        if any(m.role == "system" for m in messages):
            return messages
        return (Message("system", _SYSTEM), *messages)

    def call_count(self, candidates: int) -> CountRange:
        del candidates  # it never looks at them
        return CountRange(self.samples, self.samples)

    def output_count(self, candidates: int) -> CountRange:
        return self.call_count(candidates)
