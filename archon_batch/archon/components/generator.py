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
    #: The number of candidates. Each takes one call.
    samples: int = Field(default=1, ge=1, le=1000)
    #: Send no default system message, and merge the row's into its first user message. The key
    #: ``no_system`` of a model does so for all components.
    no_system: bool = False

    def run(self, context: Context) -> ComponentRequests:
        messages = self._messages(context)
        if too_long := check_length(context, self, messages):
            return Contribution(candidates=()), too_long
        requests = [Request(sample, messages, sample=sample) for sample in range(self.samples)]
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
        del candidates  # it does not read them
        return CountRange(self.samples, self.samples)

    def output_count(self, candidates: int) -> CountRange:
        return self.call_count(candidates)
