"""Replies as JSON: their schemas and their parser."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from archon_batch.archon.call import ReplyFormat
from archon_batch.archon.requests import ReplyParseError

T = TypeVar("T")

#: The first line of a Markdown code block.
_BLOCK = re.compile(r"```[A-Za-z]{0,10}\s*")
#: The beginning of a value, and how many of them are tried.
_OPENS = re.compile(r"[{\[]")
_MAX_TRIES = 20
_DECODER = json.JSONDecoder()


class JsonReply(BaseModel):
    """A reply as an object; providers ask that every key is there and none besides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def json_reply_format(example: JsonReply, costliest: JsonReply | None = None) -> ReplyFormat:
    """The format of replies of this type. The first string of the example can be padded."""
    text = example.model_dump_json()
    return ReplyFormat(
        grammar=None,
        example=text,
        schema=_schema_text(type(example)),
        costliest_example=costliest.model_dump_json() if costliest else None,
        padding_offset=text.index(':"') + 2 if ':"' in text else None,
    )


@cache
def _schema_text(reply_type: type[JsonReply]) -> str:
    return json.dumps(reply_type.model_json_schema())


def parse_json_reply(reply_type: TypeAdapter[T], text: str) -> T:
    """The text as a value of this type, or the one such value in it.

    Raises:
        ReplyParseError: the text has no such value, or several.
    """
    try:
        return _validate_json(reply_type, _strip_code_block(text))
    except ValidationError as error:
        last_error = error
    values: list[T] = []
    for part in find_json_values(text):
        try:
            value = _validate_json(reply_type, part)
        except ValidationError as error:
            last_error = error
            continue
        values.append(value)
    if len(values) == 1:
        return values[0]
    if values:
        raise ReplyParseError("it holds several replies in JSON; there must be one")
    first = last_error.errors(include_url=False, include_input=False)[0]
    at = ".".join(str(part) for part in first["loc"]) or "the JSON"
    # A key may come from the model, with any length and any characters.
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in at[:100])
    raise ReplyParseError(f"{plain}: {first['msg'].lower()}"[:200])


def find_json_values(text: str) -> Iterator[str]:
    """The outermost objects and lists in a text, as they are written.

    It tries a bounded number of brackets, so that deep nesting takes no longer.
    """
    at = 0
    for _ in range(_MAX_TRIES):
        opens = _OPENS.search(text, at)
        if opens is None:
            return
        try:
            _, at = _DECODER.raw_decode(text, opens.start())
        except (ValueError, RecursionError):
            at = opens.end()
        else:
            yield text[opens.start() : at]


def _validate_json(reply_type: TypeAdapter[T], text: str) -> T:
    return reply_type.validate_json(text.encode("utf-8", "replace"), strict=True)


def _strip_code_block(text: str) -> str:
    """The text; if it is one Markdown code block, the content of the block."""
    first, *lines = text.strip().split("\n")
    if len(lines) > 1 and _BLOCK.fullmatch(first) and lines[-1].strip() == "```":
        return "\n".join(lines[:-1])
    return text
