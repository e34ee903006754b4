"""What a body says went wrong, in the forms that providers write it, under whatever status."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Words that stand for a status where a number is not told: OpenAI's and Anthropic's types and
#: codes, Google's and gRPC's.
_CODES = {
    "invalid_request_error": 400, "invalid_argument": 400, "bad_request": 400,
    "badrequesterror": 400, "failed_precondition": 400,
    "authentication_error": 401, "invalid_api_key": 401, "unauthenticated": 401,
    "unauthorized": 401,
    "billing_error": 402, "insufficient_quota": 429,
    "permission_error": 403, "permission_denied": 403, "forbidden": 403,
    "not_found_error": 404, "model_not_found": 404, "not_found": 404, "notfounderror": 404,
    "request_too_large": 413,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "rate_limited": 429,
    "resource_exhausted": 429, "too_many_requests": 429,
    "api_error": 500, "server_error": 500, "internal_server_error": 500, "internal": 500,
    "internalservererror": 500, "internal_error": 500,
    "unavailable": 503, "service_unavailable": 503, "overloaded_error": 529,
    "timeout": 504, "timeout_error": 504, "deadline_exceeded": 504,
}  # fmt: skip
_CODE = re.compile("[45][0-9]{2}")
_CODED = ("code", "status", "status_code", "http_status", "type", "error_type")
_WORDED = ("message", "msg", "error", "detail", "title", "error_description")
#: Of a body that is longer no more is looked at.
_MOST = 1 << 16
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Fault:
    #: The status that is meant; None if none is told.
    status: int | None
    #: What is said to people.
    words: str
    #: All that is said.
    text: str = ""
    #: It stands beside choices, so that the model may have been at work.
    choices: bool = False
    #: There is a part of an answer, or its end without a word: it may be on the bill.
    broke_off: bool = False


def fault(served: object) -> Fault | None:
    """The error that a body of JSON tells of; None if it tells of none."""
    for part in served if isinstance(served, list) else [served]:
        error = _error(part) if isinstance(part, Mapping) else None
        if error is not None:
            text = json.dumps(served, ensure_ascii=False)[:_MOST]
            return Fault(_status(error, 0) or _status(part, 0), _words(error, 0) or text, text)
    return None


def refusal(body: bytes) -> Fault:
    """What the body of a refusal says, be it JSON or a page."""
    text = body.decode("utf-8-sig", "replace")
    try:
        found = fault(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    return found or Fault(None, text, text)


def _error(served: Mapping[str, Any]) -> object | None:
    for name in ("error", "errors"):  # ``errors`` is Cloudflare's and DRF's
        if served.get(name):
            error: object = served[name]
            return error
    if any(served.get(name) for name in ("choices", "content", "output", "candidates")):
        return None
    if served.get("detail"):  # FastAPI
        return {"message": served["detail"]}
    worded = isinstance(served.get("message"), str)
    # vLLM's and Mistral's; DashScope's has no more than the two.
    if served.get("object") == "error" or (worded and ("code" in served or "type" in served)):
        return served
    return None


def _status(told: object, depth: int) -> int | None:
    if isinstance(told, list):
        told = told[0] if told else None
    if not isinstance(told, Mapping) or depth > _DEEPEST:
        return None
    for name in _CODED:
        value = told.get(name)
        if isinstance(value, str):
            code = _CODE.fullmatch(value)
            value = int(value) if code else _CODES.get(value.lower())
        if isinstance(value, int) and _CODE.fullmatch(f"{value}"):
            return value
    return _status(told.get("error"), depth + 1)


def _words(told: object, depth: int) -> str:
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        told = told[0] if told else None
        return _words(told, depth + 1) if depth < _DEEPEST else ""
    if not isinstance(told, Mapping) or depth > _DEEPEST:
        return ""
    words = next((w for name in _WORDED if (w := _words(told.get(name), depth + 1))), "")
    behind = told.get("metadata")
    raw = behind.get("raw") if isinstance(behind, Mapping) else None
    # OpenRouter's own words are always the same; the provider's behind it say what it was.
    return f"{words}: {raw}" if isinstance(raw, str) and raw else words
