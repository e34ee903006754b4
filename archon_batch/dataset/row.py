"""A row: one record of a dataset, read strictly, as the question that it asks."""

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, cast

from archon_batch.archon import Message, Question
from archon_batch.dataset.template import Template
from archon_batch.errors import DatasetError
from archon_batch.untrusted_text import describe_utf8_error

#: What a source hands over: a line of JSON, the cells of a row by their columns, or what is wrong.
RawRecord = bytes | Mapping[str, object] | DatasetError

_ROLES = ("system", "user", "assistant")
_MAX_ID_LENGTH = 200
#: A program that reads JSON by calling itself survives this; Python's own ends near 1,000.
_MAX_DEPTH = 64
#: Keys that an error lists at most, and characters of each.
_MAX_KEYS, _MAX_KEY_LENGTH = 12, 40

#: How alike two names have to be for one to be a slip of the other.
_MIN_SIMILARITY = 0.75
#: What datasets call the prompt.
_COMMON_PROMPT_FIELDS = ("question", "instruction", "problem", "query", "input", "text")

#: What the last line of a file ends with that was cut inside a word, a number or an escape.
_CUT_OFF_END = re.compile(r"-|tr?u?|fa?l?s?|nu?l?|(?:\.|[eE][+-]?)|u[0-9a-fA-F]{0,3}")

#: A line without such an escape cannot hold what ``_UNSTORABLE`` looks for.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
#: What a database refuses: Postgres NUL, both of them half a surrogate pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class ReadOptions:
    """How the rows of a dataset are to be understood."""

    #: The key of the prompt.
    prompt_field: str = "prompt"
    #: The key of the id. Rows may do without an ``id``, but not without another that is named here.
    id_field: str = "id"
    #: Makes the prompt from the row's keys; a prompt or messages of its own are then extras.
    template: str | None = None
    #: Rows to read; None reads all.
    limit: int | None = None
    #: Give a row that cannot be accepted a reason, where it would else end the reading.
    skip_bad_rows: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    question: Question
    #: The other keys, in their order; those of a template are among them. Of a row that could not
    #: be accepted, all keys, if they could be read.
    extras: Mapping[str, object]
    #: From 1: the line of a text file, the row of a Parquet file.
    line: int
    #: Why it could not be accepted; its question then has no messages. None when it was.
    reason: str | None = None


def read_row(
    record: RawRecord, line: int, id_prefix: str, options: ReadOptions, template: Template | None
) -> Row:
    """The row that a record holds, or the reason why there is none.

    Args:
        record: what stands in the file.
        line: where it stands.
        id_prefix: what comes before the line's number to make an id where there is none.
        options: which keys mean what.
        template: the reading's own, parsed.
    """
    # A row that cannot be read must not take the id of one that can.
    row_id, fields = f"line {id_prefix}{line}", dict[str, object]()
    try:
        fields = _parse_fields(record)
        row_id = _row_id(fields, f"{id_prefix}{line}", options.id_field)
        extras = dict(fields)
        messages = _messages(extras, options.prompt_field, template)
    except DatasetError as error:
        return Row(row_id, Question(row_id, ()), fields, line, error.why)
    # A template may want the id, so it leaves last.
    extras.pop(options.id_field, None)
    return Row(row_id, Question(row_id, messages), extras, line)


def _reject(why: str) -> NoReturn:
    """File and line are known further out."""
    raise DatasetError("", 0, why)


def _parse_fields(record: RawRecord) -> dict[str, object]:
    if isinstance(record, DatasetError):
        raise record
    if isinstance(record, bytes):
        fields = _parse_json_line(record)
        suspect = _SUSPECT.search(record) is not None
    else:
        fields, suspect = dict(record), True
    if suspect:
        _reject_unstorable(fields, "")
    return fields


def _parse_json_line(line: bytes) -> dict[str, object]:
    try:
        if b"\0" in line:
            _reject("holds the byte 0x00; is it UTF-16, or no text at all?")
        found = _DECODER.decode(line.decode())
        if line.count(b"[") + line.count(b"{") > _MAX_DEPTH:
            _reject_deep(found)
    except UnicodeDecodeError as error:
        if error.start and error.reason == "unexpected end of data":
            _reject(_CUT_OFF)
        _reject(describe_utf8_error(error))
    except json.JSONDecodeError as error:
        _reject(_describe_json_error(error))
    except RecursionError:
        _reject(f"nested deeper than {_MAX_DEPTH}")
    except ValueError:
        # The one other thing that the decoder cannot do is a whole number of over 4,300 digits.
        _reject("a number is too long")
    if not isinstance(found, dict):
        _reject(f'expected an object such as {{"prompt": ...}}, found {_describe_value(found)}')
    return found


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key in times if times[key] > 1)
        _reject(f"the key {_printable_key(twice)} appears twice")
    return found


def _parse_float(text: str) -> float:
    number = float(text)
    return (
        number
        if math.isfinite(number)
        else _reject(f"{text[:_MAX_KEY_LENGTH]} is too large a number")
    )


def _reject_constant(text: str) -> NoReturn:
    _reject(f"{text} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_float=_parse_float,
    parse_constant=_reject_constant,
)


_CUT_OFF = "the JSON ends early; is the file cut off?"


def _describe_json_error(error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data":
        if "\r" in error.doc.rstrip():
            return "one line holds several objects; do its lines end in CR alone?"
        return f"extra data at column {error.colno}; one object a line"
    rest = error.doc[error.pos :].rstrip()
    if not rest or error.msg.startswith("Unterminated string") or _CUT_OFF_END.fullmatch(rest):
        return _CUT_OFF
    what = error.msg[0].lower() + error.msg[1:].rstrip(": ").removesuffix(" at")
    return f"not JSON at column {error.colno}: {what}"


def _reject_deep(value: object) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    _reject(f"nested deeper than {_MAX_DEPTH}")


def _reject_unstorable(value: object, path: str) -> None:
    if isinstance(value, str):
        if found := _UNSTORABLE.search(value):
            what = "U+0000" if found[0] == "\0" else "an unpaired surrogate"
            _reject(f"{path}: {what} at character {found.start() + 1}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            at = f"{path}.{_printable_key(key)}" if path else _printable_key(key)
            _reject_unstorable(key, f"the key {at}")
            _reject_unstorable(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _reject_unstorable(inner, f"{path}[{index}]")


def _row_id(fields: Mapping[str, object], default_id: str, key: str) -> str:
    value = fields.get(key)
    if value is None:
        if key != "id":
            near = difflib.get_close_matches(key, fields, n=1, cutoff=_MIN_SIMILARITY)
            hint = "".join(f" (try --id-field {_printable_key(name)})" for name in near)
            _reject(f"{key}: missing; {_list_keys(fields)}{hint}")
        value = default_id
    if isinstance(value, bool) or not isinstance(value, str | int):
        _reject(f"{key}: expected text or a whole number, found {_describe_value(value)}")
    text = str(value).strip()
    if not text or len(text) > _MAX_ID_LENGTH or not text.isprintable():
        _reject(f"{key}: expected 1 to {_MAX_ID_LENGTH} printable characters")
    return text


def _messages(
    fields: dict[str, object], key: str, template: Template | None
) -> tuple[Message, ...]:
    """What the row asks; the key that it is taken from leaves the fields."""
    if template is not None:
        return (Message("user", _require_text(template.fill(fields), "template")),)
    has_messages = key != "messages" and fields.get("messages") is not None
    if fields.get(key) is not None:
        if has_messages:
            _reject(f"has both {key} and messages; one of them is wanted")
        return (Message("user", _require_text(fields.pop(key), key)),)
    if has_messages:
        return _conversation(fields.pop("messages"))
    if key in fields:
        _reject(f"{key}: expected text, found null")
    texts = [name for name, value in fields.items() if isinstance(value, str)]
    # One that is neither like it nor called as prompts are may be the gold answer, or an id.
    near = difflib.get_close_matches(key, texts, n=1, cutoff=_MIN_SIMILARITY)
    likely = (
        [name for name in _COMMON_PROMPT_FIELDS if name in texts]
        if key == ReadOptions().prompt_field
        else []
    )
    hint = "".join(f" (try --prompt-field {_printable_key(name)})" for name in [*near, *likely][:1])
    _reject(f"{key}: missing; {_list_keys(fields)}{hint}")


def _conversation(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list):
        _reject(f"messages: expected a list, found {_describe_value(value)}")
    if not value:
        _reject("messages: the list is empty")
    messages = tuple(
        _parse_message(entry, f"messages[{index}]") for index, entry in enumerate(value)
    )
    if messages[-1].role != "user":
        _reject(f"messages[{len(messages) - 1}].role: the last message is to be the user's")
    return messages


def _parse_message(entry: object, path: str) -> Message:
    if not isinstance(entry, dict):
        _reject(f"{path}: expected an object with role and content, found {_describe_value(entry)}")
    role = entry.get("role")
    if role not in _ROLES:
        found = _printable_key(role) if isinstance(role, str) else _describe_value(role)
        _reject(f"{path}.role: expected one of {', '.join(_ROLES)}, found {found}")
    for key, inner in entry.items():
        if key not in ("role", "content") and inner is not None:
            _reject(f"{path}.{_printable_key(key)}: a message has role and content only")
    return Message(
        cast("Literal['system', 'user', 'assistant']", role),
        _require_text(entry.get("content"), f"{path}.content"),
    )


def _require_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        hint = "; a conversation goes under messages" if isinstance(value, list) else ""
        _reject(f"{path}: expected text, found {_describe_value(value)}{hint}")
    if not value or value.isspace():
        _reject(f"{path}: empty")
    return value


def _list_keys(fields: Mapping[str, object]) -> str:
    if not fields:
        return "the row has no keys"
    more = ", ..." if len(fields) > _MAX_KEYS else ""
    return (
        "keys found: " + ", ".join(_printable_key(key) for key in list(fields)[:_MAX_KEYS]) + more
    )


def _printable_key(key: str) -> str:
    """A key as an error may print it: control characters could write on the terminal."""
    short = key if len(key) <= _MAX_KEY_LENGTH else f"{key[:_MAX_KEY_LENGTH]}..."
    return short if short and short.isprintable() else ascii(short)


def _describe_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"
