"""Provider for OpenAI-compatible endpoints: one POST a call, by aiohttp.

aiohttp never repeats a POST, so a call is one request. The failure decides the error class: no
connection means not sent; a connection that ended before the whole response means in doubt.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # undeclared, and documented
    getproxies_environment,
    proxy_bypass_environment,
)

import aiohttp

from archon_batch import errors
from archon_batch.archon import Call, Model, Reply
from archon_batch.providers import chat_completions, response_bodies
from archon_batch.providers.classify_error import ErrorClassifier
from archon_batch.providers.connection_errors import (
    CONNECT_ERRORS,
    ReachedHosts,
    describe_connection_error,
)
from archon_batch.providers.endpoints import Endpoint, endpoint_for
from archon_batch.providers.error_bodies import ErrorBody, error_from_body
from archon_batch.providers.redaction import redact
from archon_batch.providers.resolver import GuardedResolver
from archon_batch.providers.response_headers import remaining_limits
from archon_batch.providers.retry_after import retry_after_seconds

#: Seconds to connect, and that a connection may idle. Common servers close idle connections after
#: five seconds, and a request into a closing connection would be in doubt.
_CONNECT_SECONDS, _IDLE_SECONDS = 10.0, 4.0
_FIRST_ERROR_STATUS = 400
_NO_HEADERS: Mapping[str, str] = {}
_REDIRECT = ErrorBody(None, "a redirect, and none is followed")


class OpenAICompatibleProvider:
    """Holds one HTTP session a process; the caller bounds the concurrent calls."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call, also while its response still arrives.
        self._timeout = timeout
        self._reached_hosts = ReachedHosts()
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._error_classifier = ErrorClassifier()

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Raises:
            ProviderError: there is no reply, or it cannot be parsed.
        """
        name = call.model.model
        url, key = self._endpoint(call.model)
        try:
            data = chat_completions.encode_request(call)
        except UnicodeEncodeError:
            raise errors.BadCallError(name, "the prompt is no Unicode text") from None
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": response_bodies.ENCODINGS,
            "X-Client-Request-Id": attempt_id,
            # Without a key, send no header: some servers reject a placeholder.
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        response_headers = _NO_HEADERS
        status, body, charset = 0, b"", None
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._open_session().post(
                    url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy(url)
                ) as response,
            ):
                status, response_headers, charset = (
                    response.status,
                    response.headers,
                    response.charset,
                )
                self._reached_hosts.add(urlsplit(url).hostname)
                encoding = response_headers.get("Content-Encoding")
                body = await response_bodies.read_body(
                    response.content.iter_any(), encoding, status
                )
        except CONNECT_ERRORS as error:
            error_class = self._reached_hosts.classify(error, urlsplit(url).hostname)
            raise error_class(name, _connection_message(error, call)) from None
        except aiohttp.InvalidURL:
            raise errors.BadCallError(name, "its address is no URL") from None
        except TimeoutError:
            if status < _FIRST_ERROR_STATUS:
                raise errors.CallTimeoutError(
                    name, "no answer in time", retry_after_seconds(response_headers)
                ) from None
        except Exception as error:  # noqa: BLE001  (of any kind: the request may have arrived)
            if status < _FIRST_ERROR_STATUS:
                raise errors.BrokenReplyError(
                    name, _connection_message(error, call), retry_after_seconds(response_headers)
                ) from None
        reply = _parse_response(call, status, response_headers, body, charset)
        if isinstance(reply, ErrorBody):
            error_status = None if response_bodies.is_success(status) else status
            raise self._error_classifier.classify(call, error_status, response_headers, reply)
        self._error_classifier.record_success(call.model)
        return reply

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connect = min(_CONNECT_SECONDS, self._timeout / 2)
            self._session = aiohttp.ClientSession(
                # No limit: a call that waits for a connection would use up its deadline.
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=_IDLE_SECONDS,
                    ttl_dns_cache=60,
                    resolver=GuardedResolver(),
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                # response_bodies decompresses, with a size limit.
                auto_decompress=False,
            )
        return self._session

    def _endpoint(self, model: Model) -> Endpoint:
        key = model.model, model.api_base
        return self._endpoints.get(key) or self._endpoints.setdefault(key, endpoint_for(model))

    def _proxy(self, url: str) -> str | None:
        """The environment's proxy for the address; cached, as the look-up costs as much as a request."""
        if url not in self._proxies:
            parts, proxies = urlsplit(url), getproxies_environment()
            is_bypassed = proxy_bypass_environment(parts.netloc, proxies)
            self._proxies[url] = None if is_bypassed else proxies.get(parts.scheme)
        return self._proxies[url]


def _parse_response(
    call: Call, status: int, headers: Mapping[str, str], body: bytes, charset: str | None
) -> Reply | ErrorBody:
    if not response_bodies.is_success(status):
        return _REDIRECT if status < _FIRST_ERROR_STATUS else error_from_body(body)
    try:
        return chat_completions.decode_reply(body, call, remaining_limits(headers), charset)
    except ValueError:
        why = f"{status}: its answer cannot be read"
        raise errors.BrokenReplyError(call.model.model, why, retry_after_seconds(headers)) from None


def _connection_message(error: Exception, call: Call) -> str:
    prompts = [message.content for message in call.messages]
    return f"connection: {redact(describe_connection_error(error), prompts)[:180]}"
