"""The live gateway: litellm, held to one request a call. Nothing else imports litellm.

litellm repeats requests in more ways than its settings reach, and says InternalServerError of a
500, of a cut body and of a closed port alike. So every request is watched where it leaves: there a
second one is stopped, and what was seen there decides what a failure means and may have cost. What
came back in the words of OpenAI is read by the same reader as on the direct lane.
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
from archon_batch.providers.classify_error import ErrorClassifier
from archon_batch.providers.connection_errors import (
    CONNECT_ERRORS,
    ReachedHosts,
    describe_connection_error,
)
from archon_batch.providers.credentials import BoundKey, bound_key
from archon_batch.providers.endpoints import is_openai_compatible
from archon_batch.providers.error_bodies import ErrorBody, error_from_body
from archon_batch.providers.json_schema import response_format
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

# Without it the import below fetches a price list, for up to nine seconds.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm._internal_context import is_internal_call
from litellm.constants import PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

#: What litellm's exceptions mean, by name, since they come and go from release to release. One
#: that is not here means what its nearest base does.
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
    name: ours for ours, names in _LITELLM_EXCEPTIONS.items() for name in names.split()
}
#: What it reads out of words that ours do not know, such as Bedrock's.
_TRUSTED_CLASSES = {errors.PromptTooLongError, errors.RefusedError}
#: Seconds to reach a host: fewer than a call has, lest one that is away seem to have been slow.
_CONNECT_SECONDS = 10.0
#: Headers that say who asks, and who pays.
_CREDENTIAL_HEADERS = {
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-amz-security-token",
}
_CREDENTIAL_HEADERS |= {"openai-organization", "openai-project"}
#: The hundred of a status that came with an answer, and the longest line about an error.
_SUCCESS_CLASS, _MAX_MESSAGE = 2, 200
#: What litellm puts before words, as in "litellm.BadRequestError: OpenAIException - ", and after.
_LITELLM_NOISE = re.compile(
    r"\b(litellm\.)?\w*(Error|Exception|Timeout)( Error)?(:| -) |Traceback \((?s:.*)"
)


@dataclass(slots=True)
class _HttpTrace:
    """What one call has done on the wire."""

    reached_hosts: ReachedHosts
    #: The one credential it may carry, and where; None when it goes to its provider's own address.
    bound_key: BoundKey | None = None
    posted_urls: set[str] = field(default_factory=set)
    reached: bool = True
    #: What it means that it was not reached.
    unreached_class: type[ProviderError] = errors.UnreachableError
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: What was served, if it came whole.
    body: bytes | None = None
    charset: str | None = None
    #: What went wrong below litellm.
    problem: str = ""


_HTTP_TRACE: ContextVar[_HttpTrace] = ContextVar("wire")


_original_send = LiteLLMAiohttpTransport.handle_async_request


async def _traced_request(self: LiteLLMAiohttpTransport, request: httpx.Request) -> httpx.Response:
    wire = _HTTP_TRACE.get()
    if request.method == "POST":
        # Some providers need a token or a poll besides: at another address, or by GET.
        if str(request.url) in wire.posted_urls:
            raise httpx.RequestError("a second request for one call", request=request)
        wire.posted_urls.add(str(request.url))
    if wire.bound_key is not None:
        for name in _CREDENTIAL_HEADERS & set(request.headers):
            value = request.headers[name].rpartition(" ")[2]
            if (request.url.host, value) != wire.bound_key:
                del request.headers[name]
    limits = request.extensions.get("timeout", {})
    connect = min(limits.get("connect") or _CONNECT_SECONDS, _CONNECT_SECONDS)
    request.extensions["timeout"] = limits | {"connect": connect}
    request.headers["Accept-Encoding"] = response_bodies.ENCODINGS
    try:
        response = await _original_send(self, request)
        wire.reached, wire.status, wire.headers = True, response.status_code, response.headers
        wire.reached_hosts.add(request.url.host)
        response = await _read_response(response)
        wire.body, wire.charset = await response.aread(), response.charset_encoding
    except Exception as error:
        cause = error.__cause__
        wire.reached = wire.status is not None or not isinstance(cause, CONNECT_ERRORS)
        wire.problem = describe_connection_error(cause or error)
        if cause is not None and not wire.reached:
            wire.unreached_class = wire.reached_hosts.classify(cause, request.url.host)
        raise
    if response.has_redirect_location:
        wire.problem = "a redirect, and none is followed"
        raise httpx.TooManyRedirects(wire.problem, request=request)
    return response


async def _read_response(response: httpx.Response) -> httpx.Response:
    """The response with its body, which may be no larger than any may be."""
    headers, packed = response.headers, response.headers.get("Content-Encoding")
    try:
        body = await response_bodies.read_body(response.aiter_raw(), packed, response.status_code)
    except ValueError as error:
        raise httpx.DecodingError(str(error), request=response.request) from None
    finally:
        await response.aclose()
    # Not packed any more.
    kept = [
        (k, v) for k, v in headers.multi_items() if k not in ("content-encoding", "content-length")
    ]
    return httpx.Response(
        response.status_code, headers=kept, content=body, request=response.request
    )


# On the class, where no client gets past it: not those made at the import, nor the spare ones made
# when a connection fails.
LiteLLMAiohttpTransport.handle_async_request = _traced_request  # type: ignore[method-assign]
# litellm's sessions look hosts up by it.
aiohttp.connector.DefaultResolver = GuardedResolver  # type: ignore[attr-defined,assignment]
litellm.suppress_debug_info = True
# pydantic warns of read-only fields that litellm declares, at their first use: in a call.
warnings.filterwarnings("ignore", "Items? .+ on TypedDict class", UserWarning)
# And of contents and counts that are of another kind than litellm declares.
warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
for _name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai"):
    # What they would say of a call is in the error it ends with, and there without the prompt.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class LiteLLMProvider:
    """The providers, by way of litellm. One a process, since litellm's clients are global."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call, however slowly its answer drips.
        self._timeout = timeout
        self._error_classifier = ErrorClassifier()
        self._reached_hosts = ReachedHosts()
        if not AsyncHTTPHandler.should_use_aiohttp_transport():
            why = "must be unset: calls would leave unwatched, and could be paid for several times"
            raise SettingsError("DISABLE_AIOHTTP_TRANSPORT, LITELLM_HTTP2", why)

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Raises:
            GatewayError: there was no reply, or none that could be read.
        """
        wire, model = _HttpTrace(self._reached_hosts), call.model
        if "://" in model.model:
            # Some providers take an address for a name, and would send their key there.
            raise errors.UnknownModelError(model.model, "a name is no address; give it an api_base")
        _HTTP_TRACE.set(wire)
        # It turns off litellm's own account of the call: a tenth of the CPU, and it outlives it.
        is_internal_call.set(True)
        try:
            wire.bound_key = bound_key(model.api_base) if model.api_base else None
            async with asyncio.timeout(self._timeout):
                response = await litellm.acompletion(
                    model=model.model,
                    messages=[{"role": m.role, "content": m.content} for m in call.messages],
                    temperature=call.temperature,
                    max_tokens=call.max_tokens,
                    timeout=self._timeout,
                    num_retries=0,
                    max_retries=0,
                    # A model that takes no temperature gets none, rather than no call.
                    drop_params=True,
                    api_base=model.api_base,
                    # Its clients want a word; of what is no key, no header is left.
                    api_key=(wire.bound_key.key or "none") if wire.bound_key else None,
                    extra_headers={"X-Client-Request-Id": attempt_id},
                    response_format=response_format(call),
                    extra_body={"stream": False} if is_openai_compatible(model) else None,
                )
            came = _parse_reply(wire, call, response)
            if came is None:
                raise ValueError("no chat completion")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001  (litellm's are of many kinds)
            came = _parse_reply(wire, call, None)
            if came is None:
                # What it came from may quote the prompt or a key.
                raise self._to_error(error, call, wire) from None
        if isinstance(came, ErrorBody):
            raise self._error_classifier.classify(call, None, wire.headers, came)
        self._error_classifier.record_success(model)
        return came

    def _to_error(self, error: Exception, call: Call, trace: _HttpTrace) -> ProviderError:
        kind = _classify_failure(error, call, trace)
        if kind is None and trace.status is not None:
            told = (
                ErrorBody(None, trace.problem)
                if trace.problem
                else error_from_body(trace.body or b"")
            )
            finer = _TRUSTED_CLASSES & {_error_class(error)}
            return self._error_classifier.classify(call, trace.status, trace.headers, told, *finer)
        kind = kind or errors.BrokenReplyError
        failed = kind(call.model.model, _failure_message(error, call, trace))
        if isinstance(failed, errors.TransientError):
            set_retry_hints(failed, trace.headers)
        return failed

    async def close(self) -> None:
        """Close all connections; a later call would open new ones."""
        await close_litellm_async_clients()  # type: ignore[no-untyped-call]
        litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]


def missing_litellm_variables(model: str) -> tuple[str, ...]:
    """The environment variables that litellm needs for the model, and that are not set."""
    if model.partition("/")[0] in PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO:
        return ()  # to ask would start a login
    names: list[str] = litellm.validate_environment(model)["missing_keys"]
    return tuple(name for name in names if not os.environ.get(name))


def _parse_reply(trace: _HttpTrace, call: Call, response: object) -> Reply | ErrorBody | None:
    """What was served: by its own words where these are OpenAI's, else as litellm read it.

    None is what neither of the two can read.
    """
    left, came = remaining_limits(trace.headers), None
    if (
        trace.body is not None
        and trace.status is not None
        and trace.status // 100 == _SUCCESS_CLASS
    ):
        with suppress(ValueError):
            came = chat_completions.decode_reply(trace.body, call, left, trace.charset)
    # A schema that litellm asked for as a tool comes back as the call of one.
    is_tool = isinstance(came, Reply) and (came.failure or "").startswith("tool_call")
    if isinstance(response, litellm.ModelResponse) and (came is None or is_tool):
        return chat_completions.reply_from_json(response.model_dump(warnings=False), call, left)
    return came


def _error_class(error: Exception) -> type[ProviderError]:
    """What litellm's exception means, by itself."""
    names = (base.__name__ for base in type(error).__mro__)
    return next(
        (ERROR_CLASSES[name] for name in names if name in ERROR_CLASSES), errors.BrokenReplyError
    )


def _classify_failure(
    error: Exception, call: Call, trace: _HttpTrace
) -> type[ProviderError] | None:
    """What a failure means by how it came about; None where what was said under a status tells."""
    kind = _error_class(error)
    if not trace.reached:
        return trace.unreached_class
    if trace.status is not None:
        if trace.status // 100 != _SUCCESS_CLASS:
            return None
        return kind if kind is errors.CallTimeoutError else errors.BrokenReplyError
    if kind is errors.CallTimeoutError:
        return kind
    if kind is errors.ProviderDownError:
        keyless = not (trace.bound_key or trace.posted_urls) and missing_litellm_variables(
            call.model.model
        )
        kind = errors.CredentialsError if keyless else errors.BrokenReplyError
    words = f"{error} {getattr(error, 'body', '')}"
    prompts = [message.content for message in call.messages]
    return match_message(words, prompts, QUOTA, CREDENTIALS, UNKNOWN_MODEL, NOT_SENT) or kind


def _failure_message(error: Exception, call: Call, trace: _HttpTrace) -> str:
    """One short line, without a key, the prompt or what was served."""
    words = trace.problem or _LITELLM_NOISE.sub("", str(error)) or "no answer in time"
    if not trace.problem and trace.status is not None and trace.status // 100 == _SUCCESS_CLASS:
        words = "its answer cannot be read"
    line = redact(words, (message.content for message in call.messages))
    source = "connection" if trace.problem else type(error).__name__
    status = f" {trace.status}" if trace.status else ""
    return f"{source}{status}: {line}"[:_MAX_MESSAGE]
