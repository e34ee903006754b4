"""A chat completion as OpenAI and those who speak like it have it: the request, and the reply."""

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from archon_batch.archon import Call, Reply, strip_reasoning
from archon_batch.providers.error_bodies import ErrorBody, error_from_json
from archon_batch.providers.event_streams import content_texts, is_event_stream, join_events
from archon_batch.providers.json_schema import response_format
from archon_batch.providers.redaction import redact
from archon_batch.providers.usage import parse_usage
from archon_batch.rate_limits import RemainingLimits

#: Words for why a reply ended, in lower case, for which there is one of OpenAI's.
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
#: Those of a server that gave up in the midst of its work.
_FAILED_FINISH_REASONS = frozenset({
    "abort", "aborted",  # vLLM, SGLang
    "error",  # OpenRouter, vLLM
    "cancelled",
    "insufficient_system_resource",  # DeepSeek
    "network_error",  # Zhipu
})  # fmt: skip
#: Digits beyond which a number is no count, and would take long to read.
_MAX_DIGITS = 40


def encode_request(call: Call) -> bytes:
    """The body of the call's request.

    Raises:
        UnicodeEncodeError: the prompt has half a pair of surrogates.
    """
    body: dict[str, object] = {
        "model": call.model.model.partition("/")[2],
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        # A few servers stream unless told not to.
        "stream": False,
    }
    form = response_format(call)
    if form is not None:
        body["response_format"] = form
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def decode_reply(
    body: bytes, call: Call, remaining: RemainingLimits | None = None, charset: str | None = None
) -> Reply | ErrorBody:
    """What was served with a 2xx.

    Args:
        body: as it came, uncompressed.
        call: what was asked.
        remaining: what the headers say of the provider's limits.
        charset: the encoding that the headers name; JSON's own are told by their first bytes.

    Raises:
        ValueError: it is no chat completion.
    """
    try:
        served = (
            join_events(body, _parse_json) if is_event_stream(body) else _parse_json(body, charset)
        )
        return reply_from_json(served, call, remaining)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no chat completion") from error


def reply_from_json(
    body: Any,  # noqa: ANN401
    call: Call,
    remaining: RemainingLimits | None = None,
) -> Reply | ErrorBody:
    """The same, of what has been read: a reply, or what it says went wrong.

    Raises:
        AttributeError, KeyError, TypeError: it is no chat completion.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not choices and (told := error_from_json(body)):
        return told
    if not isinstance(body["choices"], list | None):
        raise TypeError("no choices")
    choice = choices[0] if choices else {}
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    said = "".join(content_texts(message.get("content")))
    if not said.isascii():
        # Half a pair, which JSON can write and no database can hold.
        said = said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, finish = strip_reasoning(said) or "", _finish_reason(choice.get("finish_reason"))
    told = error_from_json(choice) or error_from_json(body)
    if told or finish in _FAILED_FINISH_REASONS:
        told = told or ErrorBody(None, f"it ended with {finish}")
        off = bool(text.strip()) or told.status is None
        return ErrorBody(
            told.status, told.message, told.full_text, has_choices=True, is_partial=off
        )
    model = body.get("model")
    why = None if text.strip() else _no_text_reason(message, finish, call)
    return Reply(
        text if why is None else None,
        failure=why,
        usage=parse_usage(_usage_field(body), call, empty=not said),
        finish_reason=finish,
        model=model if isinstance(model, str) else None,
        remaining_limits=remaining,
    )


def _parse_json(body: bytes, charset: str | None = None) -> Any:  # noqa: ANN401  (as JSON has it)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a pair of surrogates, a number that is none, a byte order mark, UTF-16: what others
        # take is taken.
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
    """Why there is no text, if asking again in the same words would get none either."""
    refusal = message.get("refusal")
    words = "".join(content_texts(refusal)) if isinstance(refusal, str | list) else ""
    if words.strip():
        return f"refused: {redact(words, [m.content for m in call.messages])}"
    if finish == "content_filter":
        return "refused: the provider's filter left no text (content_filter)"
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_call: it called a tool, and none was offered"
    return None


def _usage_field(served: Mapping[str, Any]) -> object:
    of_groq = served.get("x_groq")  # in its streams
    return served.get("usage") or (of_groq.get("usage") if isinstance(of_groq, Mapping) else None)
