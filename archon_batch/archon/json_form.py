"""Replies as JSON: the schema that a model is held to, and the reader beside it."""

import json
import re
from functools import cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from archon_batch.archon.call import Form
from archon_batch.archon.steps import UnreadableError

T = TypeVar("T")

#: The line that begins a block of Markdown.
_BLOCK = re.compile(r"```[A-Za-z]{0,10}\s*")


class JsonReply(BaseModel):
    """A reply as an object; providers ask that every key is there and none besides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def json_form(example: JsonReply, worst: JsonReply | None = None) -> Form:
    """The form of replies of that kind; more text may stand in the first string of the example."""
    text = example.model_dump_json()
    return Form(
        grammar=None,
        example=text,
        schema=_schema(type(example)),
        worst=worst.model_dump_json() if worst else None,
        room=text.index(':"') + 2 if ':"' in text else None,
    )


@cache
def _schema(kind: type[JsonReply]) -> str:
    return json.dumps(kind.model_json_schema())


def read_json(kind: TypeAdapter[T], text: str) -> T:
    """The value that the text, or the one block of Markdown in it, holds.

    Raises:
        UnreadableError: it is no JSON, or not of that kind.
    """
    try:
        return kind.validate_json(_bare(text).encode("utf-8", "replace"), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"]) or "the JSON"
        # A key may be the model's own, and of any length and kind.
        plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in at[:100])
        raise UnreadableError(f"{plain}: {first['msg'].lower()}"[:200]) from None


def _bare(text: str) -> str:
    """What the text holds; of a text that is one block of Markdown, what the block does."""
    first, *lines = text.strip().split("\n")
    if len(lines) > 1 and _BLOCK.fullmatch(first) and lines[-1].strip() == "```":
        return "\n".join(lines[:-1])
    return text
