"""A call to a model, and its reply."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from archon_batch.archon.model import Model
from archon_batch.rate_limits import RemainingLimits

# ensure_ascii escapes lone surrogates, which have no UTF-8 encoding to hash.
_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


def merge_system_messages(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages for a model whose chat template accepts no system message.

    The text of the system messages is put before the first user message, in order.
    """
    system = [m.content for m in messages if m.role == "system"]
    if not system:
        return messages
    merged = [m for m in messages if m.role != "system"]
    first = next(index for index, m in enumerate(merged) if m.role == "user")
    merged[first] = Message("user", "\n\n".join((*system, merged[first].content)))
    return tuple(merged)


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """The format of a reply: for models with constrained decoding, and for simulated replies."""

    #: A GBNF grammar of the replies that the parser accepts; None if there is a schema.
    grammar: str | None
    #: A reply that the parser accepts; of several verdicts, the positive one.
    example: str
    #: A JSON schema, as text.
    schema: str | None = None
    #: An accepted reply that causes the most further calls; None if replies do not differ in that.
    costliest_example: str | None = None
    #: The index in both examples where text can be inserted; None if there is none.
    padding_offset: int | None = None

    def padded_example(self, size: int, *, costliest: bool = False, marker: str = "") -> str:
        """An accepted reply of ``size`` characters, or longer if the example is longer.

        ``marker`` is inserted as part of the padding, to make replies distinguishable.
        """
        text = self.example
        if costliest and self.costliest_example is not None:
            text = self.costliest_example
        if self.padding_offset is None:
            return text
        padding = marker.ljust(size - len(text), "x")
        return f"{text[: self.padding_offset]}{padding}{text[self.padding_offset :]}"


class CallKey(NamedTuple):
    """The position of a call in its item. Keys are unique in an item, and sort in planning order."""

    layer: int
    component: int
    #: Numbers the component's requests.
    request_index: int
    #: 0 for the first call, then 1, 2, ... for re-asks after blank or unparsed replies.
    reask: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.component}.{self.request_index}.{self.reask}"

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "CallKey":
        layer, component, request_index, reask = map(int, text.split("."))
        return cls(layer, component, request_index, reask)


@dataclass(frozen=True, slots=True)
class Call:
    key: CallKey
    #: The type of the component that makes the call: ``generator``, ``ranker``, ...
    component_type: str
    model: Model
    messages: tuple[Message, ...]
    #: Numbers identical requests, so that five samples are five completions.
    sample: int
    temperature: float
    #: The maximum of tokens of the reply.
    max_tokens: int
    reply_format: ReplyFormat | None = None

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that determines the reply; it is the key of the completion cache."""
        request: dict[str, object] = {
            "model": self.model.model,
            "api_base": self.model.api_base,
            "messages": [[m.role, m.content] for m in self.messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "grammar": self.reply_format.grammar if self.reply_format else None,
            "sample": self.sample,
        }
        # Omit defaults, so that new fields do not invalidate the cache.
        if self.reply_format and self.reply_format.schema:
            request["schema"] = self.reply_format.schema
        if self.key.reask:
            request["again"] = self.key.reask
        return hashlib.sha256(_canonical_json(request).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider reports them. None means not reported, which is not 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: The part of ``prompt_tokens`` that the provider read from its cache.
    cached_tokens: int | None = None
    #: The part of ``completion_tokens`` that is reasoning.
    reasoning_tokens: int | None = None
    #: The cost that the provider reports, in nano-dollars.
    provider_cost_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply that settles a call: a text, or the reason of a failure."""

    text: str | None
    #: Why there is no text; None if there is one.
    failure: str | None = None
    usage: Usage = Usage()
    #: As the provider reports it: ``stop``, ``length``, ``content_filter``, ...
    finish_reason: str | None = None
    #: The model that answered, as the provider reports it.
    model: str | None = None
    #: The remaining rate limits that the provider reports; not stored.
    remaining_limits: RemainingLimits | None = field(default=None, compare=False)
