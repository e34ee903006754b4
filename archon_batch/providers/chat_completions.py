"""A chat completion as OpenAI and those who speak like it have it: the request, and the reply."""

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from archon_batch.archon import Call, Reply, without_thoughts
from archon_batch.providers.error_bodies import Fault, fault
from archon_batch.providers.event_streams import is_stream, joined, texts_of
from archon_batch.providers.json_schema import response_format
from archon_batch.providers.redaction import repeatable
from archon_batch.providers.usage import usage
from archon_batch.rate_limits import Headroom

#: Words for why a reply ended, in lower case, for which there is one of OpenAI's.
_ENDS = {
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
_FAILED = frozenset({
    "abort", "aborted",  # vLLM, SGLang
    "error",  # OpenRouter, vLLM
    "cancelled",
    "insufficient_system_resource",  # DeepSeek
    "network_error",  # Zhipu
})  # fmt: skip
#: Digits beyond which a number is no count, and would take long to read.
_DIGITS = 40


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


def reply(
    body: bytes, call: Call, left: Headroom | None = None, charset: str | None = None
) -> Reply | Fault:
    """What was served with a 2xx.

    Args:
        body: as it came, uncompressed.
        call: what was asked.
        left: what the headers say of the provider's limits.
        charset: the encoding that the headers name; JSON's own are told by their first bytes.

    Raises:
        ValueError: it is no chat completion.
    """
    try:
        served = joined(body, _read) if is_stream(body) else _read(body, charset)
        return reply_of(served, call, left)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no chat completion") from error


def reply_of(served: Any, call: Call, left: Headroom | None = None) -> Reply | Fault:  # noqa: ANN401
    """The same, of what has been read: a reply, or what it says went wrong.

    Raises:
        AttributeError, KeyError, TypeError: it is no chat completion.
    """
    choices = served.get("choices") if isinstance(served, Mapping) else None
    if not choices and (told := fault(served)):
        return told
    if not isinstance(served["choices"], list | None):
        raise TypeError("no choices")
    choice = choices[0] if choices else {}
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    said = "".join(texts_of(message.get("content")))
    if not said.isascii():
        # Half a pair, which JSON can write and no database can hold.
        said = said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, finish = without_thoughts(said) or "", _finish(choice.get("finish_reason"))
    told = fault(choice) or fault(served)
    if told or finish in _FAILED:
        told = told or Fault(None, f"it ended with {finish}")
        off = bool(text.strip()) or told.status is None
        return Fault(told.status, told.words, told.text, choices=True, broke_off=off)
    model = served.get("model")
    why = None if text.strip() else _why_not(message, finish, call)
    return Reply(
        text if why is None else None,
        failure=why,
        usage=usage(_usage(served), call, empty=not said),
        finish=finish,
        model=model if isinstance(model, str) else None,
        headroom=left,
    )


def _read(body: bytes, charset: str | None = None) -> Any:  # noqa: ANN401  (as JSON has it)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a pair of surrogates, a number that is none, a byte order mark, UTF-16: what others
        # take is taken.
        try:
            text = body.decode(json.detect_encoding(body), "surrogatepass")
        except UnicodeDecodeError:
            text = _declared(body, charset)
        return json.loads(text, parse_int=_int)


def _declared(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8")
    except LookupError as error:
        raise ValueError("no such encoding") from error


def _int(digits: str) -> float:
    return int(digits) if len(digits) < _DIGITS else math.inf


def _finish(word: object) -> str | None:
    if isinstance(word, Mapping):  # SGLang's own
        word = word.get("type")
    if not isinstance(word, str):
        return None
    lower = word.lower()
    return lower if lower in _FAILED else _ENDS.get(lower, word)


def _why_not(message: Mapping[str, Any], finish: str | None, call: Call) -> str | None:
    """Why there is no text, if asking again in the same words would get none either."""
    refusal = message.get("refusal")
    words = "".join(texts_of(refusal)) if isinstance(refusal, str | list) else ""
    if words.strip():
        return f"refused: {repeatable(words, [m.content for m in call.messages])}"
    if finish == "content_filter":
        return "refused: the provider's filter left no text (content_filter)"
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_call: it called a tool, and none was offered"
    return None


def _usage(served: Mapping[str, Any]) -> object:
    of_groq = served.get("x_groq")  # in its streams
    return served.get("usage") or (of_groq.get("usage") if isinstance(of_groq, Mapping) else None)
