"""Joins an unrequested event stream into one chat completion."""

from collections.abc import Callable, Iterator
from typing import Any

_DONE = b"[DONE]"
#: First bytes of a stream: a line of an event, or a comment that keeps the connection alive.
_STREAM_PREFIXES = (b"data:", b"event:", b"id:", b"retry:", b":")
#: Fields of a message that arrive in parts, and those that arrive whole.
_TEXT_FIELDS = ("content", "refusal")
_CALL_FIELDS = ("tool_calls", "function_call")


def is_event_stream(body: bytes) -> bool:
    return body[:64].lstrip().startswith(_STREAM_PREFIXES)


def join_events(body: bytes, parse_json: Callable[[bytes], Any]) -> dict[str, Any]:
    """The completion of all events as one body.

    Args:
        body: the stream.
        parse_json: parses JSON, and raises ValueError.

    Raises:
        ValueError: an event is no JSON, or the stream ends before the completion.
    """
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {}
    texts: dict[str, list[str]] = {name: [] for name in _TEXT_FIELDS}
    choice: dict[str, Any] = {}
    ended = False
    for data in _events(body):
        if data == _DONE:
            ended = True
            break
        event = parse_json(data)
        if not isinstance(event, dict):
            raise ValueError("no event of a completion")  # noqa: TRY004  (unparsable, for the caller)
        whole |= {name: value for name, value in event.items() if value and name != "choices"}
        for part in (event.get("choices") or [])[:1]:
            choice |= {name: value for name, value in part.items() if value is not None}
            delta = part.get("delta") or part.get("message") or {"content": part.get("text")}
            for name in _TEXT_FIELDS:
                texts[name] += content_texts(delta.get(name))
            message |= {name: delta[name] for name in _CALL_FIELDS if delta.get(name)}
    if not whole.get("error") and not (ended or choice.get("finish_reason")):
        raise ValueError("the stream ends before its completion")
    choice["message"] = {**message, **{name: "".join(parts) for name, parts in texts.items()}}
    return {**whole, "choices": [choice] if len(choice) > 1 else []}


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each event, with the lines of one event joined."""
    lines: list[bytes] = []
    for line in [*body.splitlines(), b""]:
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif not line.strip() and lines:
            yield b"\n".join(lines)
            lines = []


def content_texts(content: object) -> list[str]:
    """The texts of a message's content, which is one text or a list of parts.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(content, list):
        return [text for part in content for text in content_texts(part)]
    if isinstance(content, dict):
        # Skip reasoning, which has its own type: ``thinking`` (Mistral) or ``reasoning``.
        is_text = content.get("type", "text") in ("text", "output_text")
        return content_texts(content.get("text")) if is_text else []
    if content is not None and not isinstance(content, str):
        raise TypeError("no text")
    return [content] if content else []
