"""Parses one record of a dataset strictly into a row with its question."""

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

#: What a source yields: a line of JSON, the cells of a row by column, or an error.
RawRecord = bytes | Mapping[str, object] | DatasetError

_ROLES = ("system", "user", "assistant")
_MAX_ID_LENGTH = 200
#: Nesting that recursive JSON parsers survive; Python's own fails near 1,000.
_MAX_DEPTH = 64
#: Keys that an error lists, and characters of each.
_MAX_KEYS, _MAX_KEY_LENGTH = 12, 40

#: Similarity of two names from which on one may be a typing error of the other.
_MIN_SIMILARITY = 0.75
#: Common names of the prompt in datasets.
_COMMON_PROMPT_FIELDS = ("question", "instruction", "problem", "query", "input", "text")

#: The end of a line that is cut off inside a literal, a number or an escape.
_CUT_OFF_END = re.compile(r"-|tr?u?|fa?l?s?|nu?l?|(?:\.|[eE][+-]?)|u[0-9a-fA-F]{0,3}")

#: Only a line with such an escape can contain what ``_UNSTORABLE`` matches.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
#: What databases reject: NUL (PostgreSQL), and lone surrogates (PostgreSQL and SQLite).
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class ReadOptions:
    """How to read the rows of a dataset."""

    #: The key of the prompt.
    prompt_field: str = "prompt"
    #: The key of the id. Rows may lack ``id``, but not another key that is named here.
    id_field: str = "id"
    #: Builds the prompt from the row's keys; its own prompt or messages are then extras.
    template: str | None = None
    #: Number of rows to read; None reads all.
    limit: int | None = None
    #: Keep an invalid row with a ``reason``; otherwise it is an error of the dataset.
    skip_bad_rows: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    question: Question
    #: The other keys in order, with those of a template. For a rejected row all keys, if they could
    #: be parsed.
    extras: Mapping[str, object]
    #: From 1: the line of a text file, the row of a Parquet file.
    line: int
    #: Why the row is rejected, and its question has no messages; None for a valid row.
    reason: str | None = None


def read_row(
    record: RawRecord, line: int, id_prefix: str, options: ReadOptions, template: Template | None
) -> Row:
    """Parse a record; an invalid one gives a row with a ``reason``.

    Args:
        record: of the file.
        line: its number.
        id_prefix: stands before the line number in the id of a row without one.
        options: the keys to use.
        template: the parsed template of the options.
    """
    # The id of an unparsable row must not equal the id of any other row.
    row_id, fields = f"line {id_prefix}{line}", dict[str, object]()
    try:
        fields = _parse_fields(record)
        row_id = _row_id(fields, f"{id_prefix}{line}", options.id_field)
        extras = dict(fields)
        messages = _messages(extras, options.prompt_field, template)
    except DatasetError as error:
        return Row(row_id, Question(row_id, ()), fields, line, error.why)
    # Last, since a template may use the id.
    extras.pop(options.id_field, None)
    return Row(row_id, Question(row_id, messages), extras, line)


def _reject(why: str) -> NoReturn:
    """Raise an error without file and line, which the caller adds."""
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
            _reject("has the byte 0x00; is it UTF-16, or no text at all?")
        value = _DECODER.decode(line.decode())
        if line.count(b"[") + line.count(b"{") > _MAX_DEPTH:
            _reject_deep(value)
    except UnicodeDecodeError as error:
        if error.start and error.reason == "unexpected end of data":
            _reject(_CUT_OFF)
        _reject(describe_utf8_error(error))
    except json.JSONDecodeError as error:
        _reject(_describe_json_error(error))
    except RecursionError:
        _reject(f"nested deeper than {_MAX_DEPTH}")
    except ValueError:
        # The only other ValueError of the decoder: an integer of over 4,300 digits.
        _reject("a number is too long")
    if not isinstance(value, dict):
        _reject(f'expected an object such as {{"prompt": ...}}, found {_describe_value(value)}')
    return value


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key in counts if counts[key] > 1)
        _reject(f"the key {_printable_key(repeated)} appears twice")
    return fields


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
    problem = error.msg[0].lower() + error.msg[1:].rstrip(": ").removesuffix(" at")
    return f"not JSON at column {error.colno}: {problem}"


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
        if match := _UNSTORABLE.search(value):
            character = "U+0000" if match[0] == "\0" else "an unpaired surrogate"
            _reject(f"{path}: {character} at character {match.start() + 1}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            inner_path = f"{path}.{_printable_key(key)}" if path else _printable_key(key)
            _reject_unstorable(key, f"the key {inner_path}")
            _reject_unstorable(inner, inner_path)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _reject_unstorable(inner, f"{path}[{index}]")


def _row_id(fields: Mapping[str, object], default_id: str, key: str) -> str:
    value = fields.get(key)
    if value is None:
        if key != "id":
            similar = difflib.get_close_matches(key, fields, n=1, cutoff=_MIN_SIMILARITY)
            hint = "".join(f" (try --id-field {_printable_key(name)})" for name in similar)
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
    """The messages of the row; their key is removed from the fields."""
    if template is not None:
        return (Message("user", _require_text(template.fill(fields), "template")),)
    has_messages = key != "messages" and fields.get("messages") is not None
    if fields.get(key) is not None:
        if has_messages:
            _reject(f"has both {key} and messages; leave one of them out")
        return (Message("user", _require_text(fields.pop(key), key)),)
    if has_messages:
        return _conversation(fields.pop("messages"))
    if key in fields:
        _reject(f"{key}: expected text, found null")
    texts = [name for name, value in fields.items() if isinstance(value, str)]
    # Suggest no other text field: it may be the gold answer, or an id.
    similar = difflib.get_close_matches(key, texts, n=1, cutoff=_MIN_SIMILARITY)
    candidates = _COMMON_PROMPT_FIELDS if key == ReadOptions().prompt_field else ()
    common = [name for name in candidates if name in texts]
    hint = "".join(
        f" (try --prompt-field {_printable_key(name)})" for name in [*similar, *common][:1]
    )
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
        _reject(f"messages[{len(messages) - 1}].role: the last message must be the user's")
    return messages


def _parse_message(entry: object, path: str) -> Message:
    if not isinstance(entry, dict):
        _reject(f"{path}: expected an object with role and content, found {_describe_value(entry)}")
    role = entry.get("role")
    if role not in _ROLES:
        shown = _printable_key(role) if isinstance(role, str) else _describe_value(role)
        _reject(f"{path}.role: expected one of {', '.join(_ROLES)}, found {shown}")
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
    """A key without control characters, which could control the terminal."""
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
