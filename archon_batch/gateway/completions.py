"""A chat completion as OpenAI and those who speak like it have it: the request, and the reply."""

import json
import re
from typing import Any

import orjson

from archon_batch.archon import Call, Reply, Usage
from archon_batch.gateway.json_schema import response_format
from archon_batch.limits import Headroom

#: Thoughts that a server left in the text; litellm takes them out too.
_THOUGHTS = re.compile(r"^(?:<think>|<thinking>)(.*?)(?:</think>|</thinking>)", re.DOTALL)


def request(call: Call) -> bytes:
    """The body of the call's request.

    Raises:
        UnicodeEncodeError: the prompt has half a pair of surrogates.
    """
    body: dict[str, object] = {
        "model": call.model.model.partition("/")[2],
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
    }
    form = response_format(call)
    if form is not None:
        body["response_format"] = form
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def reply(body: bytes, left: Headroom | None = None) -> Reply:
    """What was served with a 2xx.

    Raises:
        ValueError: it is no chat completion.
    """
    try:
        served = _read(body)
        choices = served["choices"]
        if served.get("error") or not isinstance(choices, list):
            raise ValueError("no choices")
        choice = choices[0] if choices else {}
        text = (choice["message"].get("content") if choices else None) or ""
        if not isinstance(text, str):
            raise ValueError("no text")  # noqa: TRY004  (one kind of what cannot be read)
        if not text.isascii():
            # Half a pair, which JSON can write and no database can hold.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = _THOUGHTS.sub("", text, count=1)
        finish, model = choice.get("finish_reason"), served.get("model")
        return Reply(
            text,
            usage=_usage(served.get("usage"), text),
            finish=finish if isinstance(finish, str) else None,
            model=model if isinstance(model, str) else None,
            headroom=left,
        )
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no chat completion") from error


def _read(body: bytes) -> Any:  # noqa: ANN401  (as JSON has it)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a pair of surrogates, or a number that is none: what others take is taken.
        return json.loads(body.decode())


def _usage(usage: object, text: str) -> Usage:
    """The tokens as reported: a 0 where there must have been some is no report."""
    prompt = _count(usage, "prompt_tokens") or None
    completion = _count(usage, "completion_tokens")
    if completion == 0 and (text or prompt is None):
        completion = None
    return Usage(
        prompt,
        completion,
        _count(_part(usage, "prompt_tokens_details"), "cached_tokens"),
        _count(_part(usage, "completion_tokens_details"), "reasoning_tokens"),
    )


def _part(usage: object, name: str) -> Any:  # noqa: ANN401  (as JSON has it)
    return usage.get(name) if isinstance(usage, dict) else None


def _count(usage: object, name: str) -> int | None:
    value = _part(usage, name)
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if good else None
