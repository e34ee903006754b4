"""Provider for litellm, restricted to one request a call. No other module imports litellm.

litellm repeats requests in more ways than its settings control, and raises InternalServerError for a
500, a truncated body and a closed port alike. So its HTTP transport is patched to trace each request:
the trace blocks a second request, and decides the error class and the billing of a failure. A reply
in OpenAI's format is parsed by ``chat_completions``, as for the direct transport.
"""

import asyncio
import logging
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
import httpx

from archon_batch import errors
from archon_batch.archon import Call, Reply
from archon_batch.errors import ProviderError, SettingsError
from archon_batch.providers import chat_completions, response_bodies
from archon_batch.providers.chat_completions import response_format
from archon_batch.providers.classify_error import ErrorClassifier
from archon_batch.providers.connection_errors import (
    CONNECT_ERRORS,
    ReachedHosts,
    describe_connection_error,
)
from archon_batch.providers.credentials import BoundKey, bound_key
from archon_batch.providers.endpoints import is_openai_compatible
from archon_batch.providers.error_bodies import ErrorBody, error_from_body
from archon_batch.providers.message_patterns import (
    CREDENTIALS,
    NOT_SENT,
    QUOTA,
    UNKNOWN_MODEL,
    match_message,
)
from archon_batch.providers.redaction import redact
from archon_batch.providers.resolver import GuardedResolver
from archon_batch.providers.response_headers import remaining_limits
from archon_batch.providers.retry_after import set_retry_hints

# Without it, the import below downloads a price list for up to nine seconds.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm._internal_context import is_internal_call
from litellm.constants import PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

#: Our class for litellm's exceptions, by name, since they differ between releases. An exception
#: that is not listed has the class of its nearest listed base.
_LITELLM_EXCEPTIONS: Mapping[type[ProviderError], str] = {
    errors.BadCallError: "BadRequestError ImageFetchError InvalidRequestError ModelNotMappedError "
    "UnprocessableEntityError UnsupportedParamsError VectorStoreSearchError",
    errors.BrokenReplyError: "APIResponseValidationError JSONSchemaValidationError MockException "
    "MidStreamFallbackError OpenAIError",
    errors.CallTimeoutError: "Timeout TimeoutError",
    errors.CredentialsError: "AuthenticationError PermissionDeniedError",
    errors.PromptTooLongError: "ContextWindowExceededError",
    errors.ProviderDownError: "APIConnectionError APIError BadGatewayError InternalServerError "
    "ServiceUnavailableError",
    errors.QuotaError: "BudgetExceededError PaymentRequiredError",
    errors.RateLimitError: "RateLimitError",
    errors.RefusedError: "BlockedPiiEntityError ContentPolicyViolationError RejectedRequestError "
    "GuardrailRaisedException ModifyResponseException SensitiveDataRouteException",
    errors.UnknownModelError: "LiteLLMUnknownProvider NotFoundError",
}
ERROR_CLASSES = {
    name: error_class
    for error_class, names in _LITELLM_EXCEPTIONS.items()
    for name in names.split()
}
#: Classes that litellm recognizes in messages where we do not, such as Bedrock's.
_TRUSTED_CLASSES = {errors.PromptTooLongError, errors.RefusedError}
#: Patterns that apply to litellm's own messages.
_PATTERNS = (QUOTA, CREDENTIALS, UNKNOWN_MODEL, NOT_SENT)
#: Seconds to connect: less than the call's deadline, to tell an unreachable host from a slow one.
_CONNECT_SECONDS = 10.0
#: Headers that identify the account.
_CREDENTIAL_HEADERS = {
    "authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token",
    "openai-organization", "openai-project",
}  # fmt: skip
#: Characters of an error message.
_MAX_MESSAGE = 200
#: What litellm adds before a message, as in "litellm.BadRequestError: OpenAIException - ", and after.
_LITELLM_NOISE = re.compile(
    r"\b(litellm\.)?\w*(Error|Exception|Timeout)( Error)?(:| -) |Traceback \((?s:.*)"
)


@dataclass(slots=True)
class _HttpTrace:
    """The HTTP requests of one call, and their result."""

    reached_hosts: ReachedHosts
    #: The one key that the call may send, and its host; None for the provider's default endpoint.
    bound_key: BoundKey | None = None
    posted_urls: set[str] = field(default_factory=set)
    reached: bool = True
    #: The error class for an unreached host.
    unreached_class: type[ProviderError] = errors.UnreachableError
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The response body, if it is complete.
    body: bytes | None = None
    charset: str | None = None
    #: What failed below litellm.
    problem: str = ""

    @property
    def is_success(self) -> bool:
        return self.status is not None and response_bodies.is_success(self.status)


_HTTP_TRACE: ContextVar[_HttpTrace] = ContextVar("http_trace")


_original_send = LiteLLMAiohttpTransport.handle_async_request


async def _traced_request(self: LiteLLMAiohttpTransport, request: httpx.Request) -> httpx.Response:
    trace = _HTTP_TRACE.get()
    if request.method == "POST":
        # Some providers also need a token or a poll: at another address, or by GET.
        if str(request.url) in trace.posted_urls:
            raise httpx.RequestError("a second request for one call", request=request)
        trace.posted_urls.add(str(request.url))
    if trace.bound_key is not None:
        for name in _CREDENTIAL_HEADERS & set(request.headers):
            value = request.headers[name].rpartition(" ")[2]
            if (request.url.host, value) != trace.bound_key:
                del request.headers[name]
    limits = request.extensions.get("timeout", {})
    connect = min(limits.get("connect") or _CONNECT_SECONDS, _CONNECT_SECONDS)
    request.extensions["timeout"] = limits | {"connect": connect}
    request.headers["Accept-Encoding"] = response_bodies.ENCODINGS
    try:
        response = await _original_send(self, request)
        trace.reached, trace.status, trace.headers = True, response.status_code, response.headers
        trace.reached_hosts.add(request.url.host)
        response = await _read_response(response)
        trace.body, trace.charset = await response.aread(), response.charset_encoding
    except Exception as error:
        cause = error.__cause__
        trace.reached = trace.status is not None or not isinstance(cause, CONNECT_ERRORS)
        trace.problem = describe_connection_error(cause or error)
        if cause is not None and not trace.reached:
            trace.unreached_class = trace.reached_hosts.classify(cause, request.url.host)
        raise
    if response.has_redirect_location:
        trace.problem = "a redirect, and none is followed"
        raise httpx.TooManyRedirects(trace.problem, request=request)
    return response


async def _read_response(response: httpx.Response) -> httpx.Response:
    """The response with its whole body, decompressed and of limited size."""
    headers, encoding = response.headers, response.headers.get("Content-Encoding")
    try:
        body = await response_bodies.read_body(response.aiter_raw(), encoding, response.status_code)
    except ValueError as error:
        raise httpx.DecodingError(str(error), request=response.request) from None
    finally:
        await response.aclose()
    decoded_headers = [
        (k, v) for k, v in headers.multi_items() if k not in ("content-encoding", "content-length")
    ]
    return httpx.Response(
        response.status_code, headers=decoded_headers, content=body, request=response.request
    )


# Patch the class, so that it covers every client: also those made at import, and those made anew
# when a connection fails.
LiteLLMAiohttpTransport.handle_async_request = _traced_request  # type: ignore[method-assign]
# litellm's sessions use this resolver.
aiohttp.connector.DefaultResolver = GuardedResolver  # type: ignore[attr-defined,assignment]
litellm.suppress_debug_info = True
# pydantic warns about read-only fields that litellm declares, at their first use: in a call.
warnings.filterwarnings("ignore", "Items? .+ on TypedDict class", UserWarning)
# pydantic also warns about values of another type than litellm declares.
warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
for _name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai"):
    # The error of the call has the same information, without the prompt.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class LiteLLMProvider:
    """All providers that litellm reaches. One a process, since litellm's clients are global."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call, also while its response still arrives.
        self._timeout = timeout
        self._error_classifier = ErrorClassifier()
        self._reached_hosts = ReachedHosts()
        if not AsyncHTTPHandler.should_use_aiohttp_transport():
            why = "must be unset: litellm could repeat calls unseen, and each would be billed"
            raise SettingsError("DISABLE_AIOHTTP_TRANSPORT, LITELLM_HTTP2", why)

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Raises:
            ProviderError: there is no reply, or it cannot be parsed.
        """
        trace, model = _HttpTrace(self._reached_hosts), call.model
        if "://" in model.model:
            # Some providers take the name as an address, and would send their key there.
            raise errors.UnknownModelError(model.model, "a name is no address; give it an api_base")
        _HTTP_TRACE.set(trace)
        # Turns off litellm's logging of the call, which takes a tenth of the CPU and outlives the call.
        is_internal_call.set(True)
        try:
            trace.bound_key = bound_key(model.api_base) if model.api_base else None
            async with asyncio.timeout(self._timeout):
                response = await litellm.acompletion(
                    model=model.model,
                    messages=[{"role": m.role, "content": m.content} for m in call.messages],
                    temperature=call.temperature,
                    max_tokens=call.max_tokens,
                    timeout=self._timeout,
                    num_retries=0,
                    max_retries=0,
                    # Drop the temperature for a model that does not accept one.
                    drop_params=True,
                    api_base=model.api_base,
                    # Its clients need a value; _traced_request removes the header of a placeholder.
                    api_key=(trace.bound_key.key or "none") if trace.bound_key else None,
                    extra_headers={"X-Client-Request-Id": attempt_id},
                    response_format=response_format(call),
                    extra_body={"stream": False} if is_openai_compatible(model) else None,
                )
            reply = _parse_reply(trace, call, response)
            if reply is None:
                raise ValueError("no chat completion")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001  (litellm raises many classes)
            reply = _parse_reply(trace, call, None)
            if reply is None:
                # Drop the cause: it may quote the prompt or a key.
                raise self._to_error(error, call, trace) from None
        if isinstance(reply, ErrorBody):
            raise self._error_classifier.classify(call, None, trace.headers, reply)
        self._error_classifier.record_success(model)
        return reply

    def _to_error(self, error: Exception, call: Call, trace: _HttpTrace) -> ProviderError:
        error_class = _classify_failure(error, call, trace)
        if error_class is None and trace.status is not None:
            problem = trace.problem
            body = ErrorBody(None, problem) if problem else error_from_body(trace.body or b"")
            trusted = _TRUSTED_CLASSES & {_error_class(error)}
            return self._error_classifier.classify(
                call, trace.status, trace.headers, body, *trusted
            )
        error_class = error_class or errors.BrokenReplyError
        result = error_class(call.model.model, _failure_message(error, call, trace))
        if isinstance(result, errors.TransientError):
            set_retry_hints(result, trace.headers)
        return result

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        await close_litellm_async_clients()  # type: ignore[no-untyped-call]
        litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]


def missing_litellm_variables(model: str) -> tuple[str, ...]:
    """The unset environment variables that litellm needs for the model."""
    if model.partition("/")[0] in PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO:
        return ()  # the question would start a login
    names: list[str] = litellm.validate_environment(model)["missing_keys"]
    return tuple(name for name in names if not os.environ.get(name))


def _parse_reply(trace: _HttpTrace, call: Call, response: object) -> Reply | ErrorBody | None:
    """The reply by our own parser where the body is in OpenAI's format, else by litellm's.

    None where neither can parse it.
    """
    remaining, reply = remaining_limits(trace.headers), None
    if trace.body is not None and trace.is_success:
        with suppress(ValueError):
            reply = chat_completions.decode_reply(trace.body, call, remaining, trace.charset)
    # litellm may request a schema as a tool, and the reply is then a tool call.
    is_tool = isinstance(reply, Reply) and (reply.failure or "").startswith("tool_call")
    if isinstance(response, litellm.ModelResponse) and (reply is None or is_tool):
        data = response.model_dump(warnings=False)
        return chat_completions.reply_from_json(data, call, remaining)
    return reply


def _error_class(error: Exception) -> type[ProviderError]:
    """Our class for litellm's exception."""
    names = (base.__name__ for base in type(error).__mro__)
    return next(
        (ERROR_CLASSES[name] for name in names if name in ERROR_CLASSES), errors.BrokenReplyError
    )


def _classify_failure(
    error: Exception, call: Call, trace: _HttpTrace
) -> type[ProviderError] | None:
    """The class of a failure; None where the status and body of the response decide."""
    error_class = _error_class(error)
    if not trace.reached:
        return trace.unreached_class
    if trace.status is not None:
        if not trace.is_success:
            return None
        is_timeout = error_class is errors.CallTimeoutError
        return error_class if is_timeout else errors.BrokenReplyError
    if error_class is errors.CallTimeoutError:
        return error_class
    if error_class is errors.ProviderDownError:
        has_no_key = not (trace.bound_key or trace.posted_urls) and missing_litellm_variables(
            call.model.model
        )
        error_class = errors.CredentialsError if has_no_key else errors.BrokenReplyError
    message = f"{error} {getattr(error, 'body', '')}"
    prompts = [message.content for message in call.messages]
    return match_message(message, prompts, *_PATTERNS) or error_class


def _failure_message(error: Exception, call: Call, trace: _HttpTrace) -> str:
    """One short line, without any key, prompt or reply text."""
    message = trace.problem or _LITELLM_NOISE.sub("", str(error)) or "no answer in time"
    if not trace.problem and trace.is_success:
        message = "its answer cannot be read"
    line = redact(message, (m.content for m in call.messages))
    source = "connection" if trace.problem else type(error).__name__
    status = f" {trace.status}" if trace.status else ""
    return f"{source}{status}: {line}"[:_MAX_MESSAGE]
