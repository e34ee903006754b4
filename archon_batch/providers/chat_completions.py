"""Chat completions in OpenAI's format: encodes the request, decodes the reply."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from archon_batch.archon import Call, Reply, strip_reasoning
from archon_batch.providers.error_bodies import ErrorBody, error_from_json
from archon_batch.providers.event_streams import content_texts, is_event_stream, join_events
from archon_batch.providers.price_list import find_entry
from archon_batch.providers.redaction import redact
from archon_batch.providers.usage import parse_usage
from archon_batch.rate_limits import RemainingLimits

#: Other providers' finish reasons, in lower case, and OpenAI's word for each.
_FINISH_REASONS = {
    "max_tokens": "length",  # Anthropic, Gemini, Cohere
    "model_length": "length",  # Mistral
    "max_output_tokens": "length",
    "safety": "content_filter",  # Gemini, and the five below
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "refusal": "content_filter",  # Anthropic
    "sensitive": "content_filter",  # Zhipu
    "content_filtered": "content_filter",  # Bedrock
    "guardrail_intervened": "content_filter",  # Bedrock
}
#: Finish reasons of a server that gave up during its work.
_FAILED_FINISH_REASONS = frozenset({
    "abort", "aborted",  # vLLM, SGLang
    "error",  # OpenRouter, vLLM
    "cancelled",
    "insufficient_system_resource",  # DeepSeek
    "network_error",  # Zhipu
})  # fmt: skip
#: A number with more digits is no count, and takes long to parse.
_MAX_DIGITS = 40


def encode_request(call: Call) -> bytes:
    """The request body of a call.

    Raises:
        UnicodeEncodeError: the prompt has a lone surrogate.
    """
    body: dict[str, object] = {
        "model": call.model.model.partition("/")[2],
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        # A few servers stream unless told not to.
        "stream": False,
    }
    if schema := response_format(call):
        body["response_format"] = schema
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def decode_reply(
    body: bytes, call: Call, remaining: RemainingLimits | None = None, charset: str | None = None
) -> Reply | ErrorBody:
    """The reply, or the error, in the body of a 2xx response.

    Args:
        body: the bytes, decompressed.
        call: the call of the response.
        remaining: the provider's limits by the headers.
        charset: the encoding by the headers; UTF-8, -16 and -32 are detected without it.

    Raises:
        ValueError: the body is no chat completion.
    """
    try:
        is_stream = is_event_stream(body)
        data = join_events(body, _parse_json) if is_stream else _parse_json(body, charset)
        return reply_from_json(data, call, remaining)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no chat completion") from error


def reply_from_json(
    body: Any,  # noqa: ANN401
    call: Call,
    remaining: RemainingLimits | None = None,
) -> Reply | ErrorBody:
    """The reply, or the error, in a parsed response.

    Raises:
        AttributeError, KeyError, TypeError: the response is no chat completion.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not choices and (error := error_from_json(body)):
        return error
    if not isinstance(body["choices"], list | None):
        raise TypeError("no choices")
    choice = choices[0] if choices else {}
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    content = "".join(content_texts(message.get("content")))
    if not content.isascii():
        # Replace lone surrogates: JSON can write them, but no database can store them.
        content = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, finish = strip_reasoning(content) or "", _finish_reason(choice.get("finish_reason"))
    error = error_from_json(choice) or error_from_json(body)
    if error or finish in _FAILED_FINISH_REASONS:
        error = error or ErrorBody(None, f"it ended with {finish}")
        is_partial = bool(text.strip()) or error.status is None
        return replace(error, has_choices=True, is_partial=is_partial)
    model = body.get("model")
    failure = None if text.strip() else _no_text_reason(message, finish, call)
    return Reply(
        text if failure is None else None,
        failure=failure,
        usage=parse_usage(_usage_field(body), call, empty=not content),
        finish_reason=finish,
        model=model if isinstance(model, str) else None,
        remaining_limits=remaining,
    )


def _parse_json(body: bytes, charset: str | None = None) -> Any:  # noqa: ANN401  (any JSON value)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Accept what orjson rejects and Python's parser takes: lone surrogates, NaN, a byte order
        # mark, UTF-16.
        try:
            text = body.decode(json.detect_encoding(body), "surrogatepass")
        except UnicodeDecodeError:
            text = _decode_declared(body, charset)
        return json.loads(text, parse_int=_parse_int)


def _decode_declared(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8")
    except LookupError as error:
        raise ValueError("no such encoding") from error


def _parse_int(digits: str) -> float:
    return int(digits) if len(digits) < _MAX_DIGITS else math.inf


def _finish_reason(word: object) -> str | None:
    if isinstance(word, Mapping):  # SGLang's own
        word = word.get("type")
    if not isinstance(word, str):
        return None
    lower = word.lower()
    return lower if lower in _FAILED_FINISH_REASONS else _FINISH_REASONS.get(lower, word)


def _no_text_reason(message: Mapping[str, Any], finish: str | None, call: Call) -> str | None:
    """Why the reply has no text, where the same request would get none again; else None."""
    refusal = message.get("refusal")
    text = "".join(content_texts(refusal)) if isinstance(refusal, str | list) else ""
    if text.strip():
        return f"refused: {redact(text, [m.content for m in call.messages])}"
    if finish == "content_filter":
        return "refused: the provider's filter left no text (content_filter)"
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_call: it called a tool, and none was offered"
    return None


def _usage_field(body: Mapping[str, Any]) -> object:
    groq = body.get("x_groq")  # in Groq's streams
    return body.get("usage") or (groq.get("usage") if isinstance(groq, Mapping) else None)


def response_format(call: Call) -> dict[str, object] | None:
    """OpenAI's ``response_format`` for the call's JSON schema; None where it cannot be used.

    The architecture's ``json_schema`` of the model counts first, then litellm's list.
    """
    if call.reply_format is None or call.reply_format.schema is None:
        return None
    is_supported = call.model.json_schema
    if is_supported is None:
        entry = find_entry(call.model.model)
        is_supported = call.model.provider == "local" or (entry is not None and entry.json_schema)
    if not is_supported:
        return None
    schema = json.loads(call.reply_format.schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": call.component_type, "schema": schema, "strict": True},
    }
