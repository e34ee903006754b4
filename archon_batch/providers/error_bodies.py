"""Parses error responses, in the forms that providers use, under any status."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The status of error types and codes: of OpenAI, Anthropic, Google and gRPC.
_CODE_STATUSES = {
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
_STATUS_PATTERN = re.compile("[45][0-9]{2}")
_CODE_FIELDS = ("code", "status", "status_code", "http_status", "type", "error_type")
_MESSAGE_FIELDS = ("message", "msg", "error", "detail", "title", "error_description")
#: Characters of a body that are kept.
_MAX_TEXT = 1 << 16
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class ErrorBody:
    #: The status in the body; None if there is none.
    status: int | None
    #: The message for people.
    message: str
    #: The whole body, as text.
    full_text: str = ""
    #: The body also has choices, so that the model may have worked.
    has_choices: bool = False
    #: The body has part of a reply, or ends without an explanation: it may be billed.
    is_partial: bool = False


def error_from_json(body: object) -> ErrorBody | None:
    """The error in a JSON body; None if it has none."""
    for part in body if isinstance(body, list) else [body]:
        error = _find_error(part) if isinstance(part, Mapping) else None
        if error is not None:
            text = json.dumps(body, ensure_ascii=False)[:_MAX_TEXT]
            return ErrorBody(
                _status(error, 0) or _status(part, 0), _message(error, 0) or text, text
            )
    return None


def error_from_body(body: bytes) -> ErrorBody:
    """The error in the body of an error response, be it JSON, HTML or text."""
    text = body.decode("utf-8-sig", "replace")
    try:
        error = error_from_json(json.loads(text))
    except (ValueError, RecursionError):
        error = None
    return error or ErrorBody(None, text, text)


def _find_error(body: Mapping[str, Any]) -> object | None:
    for name in ("error", "errors"):  # ``errors`` is Cloudflare's and DRF's
        if body.get(name):
            error: object = body[name]
            return error
    if any(body.get(name) for name in ("choices", "content", "output", "candidates")):
        return None
    if body.get("detail"):  # FastAPI
        return {"message": body["detail"]}
    has_message = isinstance(body.get("message"), str)
    # vLLM and Mistral; DashScope sends only these two keys.
    if body.get("object") == "error" or (has_message and ("code" in body or "type" in body)):
        return body
    return None


def _status(error: object, depth: int) -> int | None:
    if isinstance(error, list):
        error = error[0] if error else None
    if not isinstance(error, Mapping) or depth > _MAX_DEPTH:
        return None
    for name in _CODE_FIELDS:
        value = error.get(name)
        if isinstance(value, str):
            code = _STATUS_PATTERN.fullmatch(value)
            value = int(value) if code else _CODE_STATUSES.get(value.lower())
        if isinstance(value, int) and _STATUS_PATTERN.fullmatch(f"{value}"):
            return value
    return _status(error.get("error"), depth + 1)


def _message(error: object, depth: int) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        error = error[0] if error else None
        return _message(error, depth + 1) if depth < _MAX_DEPTH else ""
    if not isinstance(error, Mapping) or depth > _MAX_DEPTH:
        return ""
    text = next((t for name in _MESSAGE_FIELDS if (t := _message(error.get(name), depth + 1))), "")
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    # OpenRouter's message is generic; its metadata has the message of the provider behind it.
    return f"{text}: {raw}" if isinstance(raw, str) and raw else text
