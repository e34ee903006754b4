"""Malformed messages of every kind that we could think of, and a valid one."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

CURSOR = ["abcdef012345", 0, "0123456789abcdef"]
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
MISSING = object()
_ODD: tuple[Any, ...] = (None, 5, [], "text", {})


def valid_message(task: str = "archon_batch.advance", **changes: Any) -> dict[str, Any]:
    """A valid message in Redis's format, with an old token; ``headers__eta=...`` changes a part."""
    one = str(uuid.uuid4())
    args = [*CURSOR, [[0, ["0.0.0.0"]]]] if task.endswith("place") else CURSOR
    message: dict[str, Any] = {
        "body": [args, {}, dict(EMBED)],
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": task, "id": one, "shadow": None, "eta": None, "expires": None,
            "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
            "root_id": one, "parent_id": None, "argsrepr": "n", "kwargsrepr": "planning",
            "origin": "gen1@here", "ignore_result": None, "replaced_task_nesting": 0,
            "stamped_headers": None, "stamps": {},
        },
        "properties": {
            "correlation_id": one, "reply_to": one, "delivery_mode": 2, "priority": 1,
            "delivery_info": {"exchange": "", "routing_key": "joins"}, "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }  # fmt: skip
    for path, value in changes.items():
        *path_parts, last = path.replace("content_", "content-").split("__")
        parent = message
        for part in path_parts:
            parent = parent[part]
        if value is MISSING:
            del parent[last]
        else:
            parent[last] = value
    if isinstance(message.get("body"), list):
        body = json.dumps(message["body"]).encode()
        message["body"] = base64.b64encode(body).decode()
    return message


def bodies() -> Iterator[tuple[str, Any]]:
    """Bodies that differ from our three parts."""
    for name, args in {
        "no args": [], "too many": [*CURSOR, 1, 2], "a mapping": {"job": 1}, "none": None,
        "numbers": [1, 2, 3], "a negative cursor": [CURSOR[0], -1, CURSOR[2]],
        "a huge cursor": [CURSOR[0], 1 << 70, CURSOR[2]], "NUL in the job": ["a\0b", 0, CURSOR[2]],
        "an invalid token": [CURSOR[0], 0, "x" * 16], "a long job": ["a" * 5000, 0, CURSOR[2]],
        "a boolean cursor": [CURSOR[0], True, CURSOR[2]],
    }.items():  # fmt: skip
        yield f"args: {name}", [args, {}, EMBED]
    yield "kwargs that no task has", [CURSOR, {"x": 1}, EMBED]
    yield "kwargs: a list", [CURSOR, [], EMBED]
    yield "no embed", [CURSOR, {}]
    yield "embed: a text", [CURSOR, {}, "chord"]
    yield "callbacks", [CURSOR, {}, EMBED | {"callbacks": [{"task": "celery.chain"}]}]
    yield "errbacks", [CURSOR, {}, EMBED | {"errbacks": [5]}]
    yield "chain", [CURSOR, {}, EMBED | {"chain": [{"task": "x"}]}]
    for name, chord in {
        "a number": 7, "empty": {}, "another task": {"task": "x", "args": CURSOR, "options": {}},
        "no options": {"task": "archon_batch.advance", "args": CURSOR},
        "options that nest": {
            "task": "archon_batch.advance", "args": CURSOR,
            "options": {"link": [{"task": "archon_batch.place"}]},
        },
        "args of another task": {"task": "archon_batch.advance", "args": [1], "options": {}},
    }.items():  # fmt: skip
        yield f"chord: {name}", [CURSOR, {}, EMBED | {"chord": chord}]
    yield "a number", 5
    yield "a text", "text"
    yield (
        "a mapping",
        {"args": CURSOR, "kwargs": {}, "task": "archon_batch.advance", "id": "x"},
    )
    yield "nothing", None
    yield "a type of kombu's", {"__type__": "uuid", "__value__": 5}


def texts() -> Iterator[tuple[str, bytes]]:
    """Bodies that are not JSON, or too large."""
    yield "no JSON", b"{not json"
    yield "no UTF-8", b"\xff\xfe\x00"
    yield "empty", b""
    yield "deep", b"[" * 200_000
    yield "huge", json.dumps(["x" * (2 << 20)]).encode()
    yield "not a number", b"[[NaN], {}, {}]"
    yield "a large number", b"[[" + b"9" * 5000 + b"], {}, {}]"


def headers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("task", "id"):
        yield f"no {name}", {f"headers__{name}": MISSING}
        for value in (*_ODD[:3], {}, ""):
            yield f"{name}: {value!r}", {f"headers__{name}": value}
    yield "another task", {"headers__task": "celery.backend_cleanup"}
    yield "a task that is none", {"headers__task": "os.system"}
    odd: dict[str, list[Any]] = {
        "eta": [
            "soon",
            5,
            [],
            {"a": 1},
            True,
            "",
            "9999-12-31T23:59:59+00:00",
            "2026-01-01T00:00:00",
        ],
        "expires": ["never", 5, [], "1970-01-01T00:00:00+00:00"],
        "retries": ["x", -1, None, [], 1 << 70],
        "timelimit": [5, "x", [1], [0.001, 0.001], ["a", "b"]],
        "stamped_headers": ["x", 5, ["x"]],
        "stamps": [5, {"x": 1}],
        "group": [5, {}],
        "root_id": [5, []],
        "argsrepr": [5, {}],
        "shadow": [5],
        "origin": [5],
        "compression": ["gzip", "application/x-bz2", "nonesuch", 5],
        "chord": [{"task": "archon_batch.advance"}],
        "callbacks": [[5]],
        "called_directly": [True],
        "delivery_info": [5],
        "hostname": [5],
    }
    for name, values in odd.items():
        for value in values:
            yield f"{name}: {value!r}", {f"headers__{name}": value}


def properties() -> Iterator[tuple[str, dict[str, Any]]]:
    """Properties that only a broker without native ones can get wrong."""
    for name in ("properties", "headers", "body", "content_type", "content_encoding"):
        yield f"no {name}", {name: MISSING}
        for value in _ODD[:4]:
            yield f"{name}: {value!r}", {name: value}
    for name in ("delivery_tag", "delivery_info", "body_encoding"):
        yield f"no {name}", {f"properties__{name}": MISSING}
        for value in (*_ODD, "\x00", "hex"):
            if name != "delivery_tag" or not isinstance(value, str):
                yield f"{name}: {value!r}", {f"properties__{name}": value}
    yield "no routing key", {"properties__delivery_info": {"exchange": ""}}
    yield "an exchange: []", {"properties__delivery_info": {"exchange": [], "routing_key": "x"}}
    for value in ("high", *_ODD[2:3], -5, 1.5):
        yield f"priority: {value!r}", {"properties__priority": value}
    yield "body: no base64", {"body": "%%%"}


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("application/x-python-serialize", "application/data", "text/plain", "yaml", ""):
        yield f"content type {kind!r}", {"content_type": kind}
    for kind in ("binary", "utf-16", "nonesuch", ""):
        yield f"content encoding {kind!r}", {"content_encoding": kind}


def items() -> Iterator[tuple[str, bytes]]:
    """Every kind, as items of a Redis list."""
    for name, made in (*headers(), *properties(), *contents()):
        yield name, json.dumps(valid_message(**made)).encode()
    for name, body in bodies():
        encoded = base64.b64encode(json.dumps(body).encode()).decode()
        yield f"body: {name}", json.dumps(valid_message() | {"body": encoded}).encode()
    for name, text in texts():
        encoded = base64.b64encode(text).decode()
        yield f"body: {name}", json.dumps(valid_message() | {"body": encoded}).encode()
        yield f"item: {name}", text
    for kind in ("datetime", "uuid", "decimal", "bytes", "nonesuch"):
        typed = {"__type__": kind, "__value__": {"hex": 5}}
        yield f"item: of the type {kind}", json.dumps(typed).encode()
    yield "item: a list", b"[]"
    yield "item: nothing", b"null"
