"""A call: one request that a component wants made, and the reply that settles it."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from archon_batch.archon.model import Model
from archon_batch.rate_limits import RemainingLimits

# A lone surrogate is escaped by ensure_ascii, so that every text has bytes to hash.
_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


def merge_system_messages(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages for a model whose template takes no system message.

    What they say stands before the first of the user's, in their order.
    """
    told = [m.content for m in messages if m.role == "system"]
    if not told:
        return messages
    others = [m for m in messages if m.role != "system"]
    first = next(index for index, m in enumerate(others) if m.role == "user")
    others[first] = Message("user", "\n\n".join((*told, others[first].content)))
    return tuple(others)


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """What a reply has to look like, for models that can be held to it and for stand-ins."""

    #: A GBNF grammar that admits just the replies its reader accepts; None when a schema does it.
    grammar: str | None
    #: One reply that its reader accepts; of several verdicts, the one that lets candidates pass.
    example: str
    #: A JSON schema, as text.
    schema: str | None = None
    #: Another reply that is accepted, the one that makes the most work; None when all make alike.
    costliest_example: str | None = None
    #: Where in either of them more text may stand and change nothing else; None is nowhere.
    padding_offset: int | None = None

    def padded_example(self, size: int, *, costliest: bool = False, marker: str = "") -> str:
        """A reply of so many characters that is accepted; longer only if the shortest is.

        The word stands where more text may stand, so that alike replies can be told apart.
        """
        text = (
            self.costliest_example
            if costliest and self.costliest_example is not None
            else self.example
        )
        if self.padding_offset is None:
            return text
        return f"{text[: self.padding_offset]}{marker.ljust(size - len(text), 'x')}{text[self.padding_offset :]}"


class CallKey(NamedTuple):
    """Where a call stands in its item: unique there, and sorted in the order of asking."""

    layer: int
    component: int
    #: The component's own count of its calls.
    request_index: int
    #: 0, then 1, 2, ... when a reply could not be read and the call is asked again.
    reask: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.component}.{self.request_index}.{self.reask}"

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "CallKey":
        layer, component, slot, again = map(int, text.split("."))
        return cls(layer, component, slot, again)


@dataclass(frozen=True, slots=True)
class Call:
    key: CallKey
    #: The type of the component that asks: ``generator``, ``ranker``, ...
    component_type: str
    model: Model
    messages: tuple[Message, ...]
    #: Which of several alike requests this is, so that five samples are five completions.
    sample: int
    temperature: float
    #: The most tokens the reply may have.
    max_tokens: int
    reply_format: ReplyFormat | None = None

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that decides the reply: alike in any item, job or architecture."""
        request: dict[str, object] = {
            "model": self.model.model,
            "api_base": self.model.api_base,
            "messages": [[m.role, m.content] for m in self.messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "grammar": self.reply_format.grammar if self.reply_format else None,
            "sample": self.sample,
        }
        # Left out where they say nothing, so that completions of before are found.
        if self.reply_format and self.reply_format.schema:
            request["schema"] = self.reply_format.schema
        if self.key.reask:
            request["again"] = self.key.reask
        return hashlib.sha256(_canonical_json(request).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider reported them; None where it did not, which is not 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: The part of ``prompt`` that the provider read from its cache.
    cached_tokens: int | None = None
    #: The part of ``completion`` that was thought and not said.
    reasoning_tokens: int | None = None
    #: What the provider says that the call has cost, in nano-dollars.
    provider_cost_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What settled a call: a text, or a failure with its reason."""

    text: str | None
    #: Why there is no text; None when there is one.
    failure: str | None = None
    usage: Usage = Usage()
    #: The provider's word for why it stopped: ``stop``, ``length``, ``content_filter``, ...
    finish_reason: str | None = None
    #: The model that the provider says has answered.
    model: str | None = None
    #: What the provider said of its limits; it is nobody's but this process's.
    remaining_limits: RemainingLimits | None = field(default=None, compare=False)
