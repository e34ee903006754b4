"""The direct gateway: one POST to an address that speaks like OpenAI's, and what came of it.

aiohttp repeats no POST, so a call is one request. What happened on the wire decides the class: no
connection is not sent; a connection that ended without a whole answer is in doubt.
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
from archon_batch.providers.classify_error import Refusals
from archon_batch.providers.connection_errors import UNREACHED, Reached, why
from archon_batch.providers.endpoints import Target, target
from archon_batch.providers.error_bodies import Fault, refusal
from archon_batch.providers.redaction import repeatable
from archon_batch.providers.resolver import Guard
from archon_batch.providers.response_headers import headroom
from archon_batch.providers.retry_after import patience

#: Seconds to reach a host, and that a connection may idle: fewer than the five after which common
#: servers close theirs, since a request into one that is being closed is in doubt.
_CONNECT, _IDLE = 10.0, 4.0
_REFUSED, _SERVED = 400, 2
_UNHEARD: Mapping[str, str] = {}
_REDIRECT = Fault(None, "a redirect, and none is followed")


class DirectGateway:
    """One session a process; calls at once are bounded by whoever places them."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call, however slowly its answer drips.
        self._timeout = timeout
        self._reached = Reached()
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}
        self._targets: dict[tuple[str, str | None], Target] = {}
        self._refusals = Refusals()

    async def answer(self, call: Call, attempt: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Raises:
            GatewayError: there was no reply, or none that could be read.
        """
        name = call.model.model
        url, key = self._target(call.model)
        try:
            data = chat_completions.request(call)
        except UnicodeEncodeError:
            raise errors.BadCallError(name, "the prompt is no Unicode text") from None
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": response_bodies.ENCODINGS,
            "X-Client-Request-Id": attempt,
            # A server without a key is asked without one: some refuse a word that is none.
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        heard = _UNHEARD
        status, body, charset = 0, b"", None
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._opened().post(
                    url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy(url)
                ) as response,
            ):
                status, heard, charset = response.status, response.headers, response.charset
                self._reached.add(urlsplit(url).hostname)
                packed = heard.get("Content-Encoding")
                body = await response_bodies.read(response.content.iter_any(), packed, status)
        except UNREACHED as error:
            kind = self._reached.meaning(error, urlsplit(url).hostname)
            raise kind(name, _line(error, call)) from None
        except aiohttp.InvalidURL:
            raise errors.BadCallError(name, "its address is none") from None
        except TimeoutError:
            if status < _REFUSED:
                raise errors.CallTimeoutError(name, "no answer in time", patience(heard)) from None
        except Exception as error:  # noqa: BLE001  (whatever it was, the request may have arrived)
            if status < _REFUSED:
                raise errors.BrokenReplyError(name, _line(error, call), patience(heard)) from None
        came = _came(call, status, heard, body, charset)
        if isinstance(came, Fault):
            said = None if status // 100 == _SERVED else status
            raise self._refusals.error(call, said, heard, came)
        self._refusals.answered(call.model)
        return came

    async def close(self) -> None:
        """Close all connections; a later call would open new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connect = min(_CONNECT, self._timeout / 2)
            self._session = aiohttp.ClientSession(
                # No limit here: a call that waited for a connection would spend its deadline.
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_IDLE, ttl_dns_cache=60, resolver=Guard()
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Bodies are unpacked as far as they may go.
                auto_decompress=False,
            )
        return self._session

    def _target(self, model: Model) -> Target:
        key = model.model, model.api_base
        return self._targets.get(key) or self._targets.setdefault(key, target(model))

    def _proxy(self, url: str) -> str | None:
        """The environment's proxy for the address: asked once, as it costs as much as a request."""
        if url not in self._proxies:
            parts, proxies = urlsplit(url), getproxies_environment()
            away = proxy_bypass_environment(parts.netloc, proxies)
            self._proxies[url] = None if away else proxies.get(parts.scheme)
        return self._proxies[url]


def _came(
    call: Call, status: int, heard: Mapping[str, str], body: bytes, charset: str | None
) -> Reply | Fault:
    if status // 100 != _SERVED:
        return _REDIRECT if status < _REFUSED else refusal(body)
    try:
        return chat_completions.reply(body, call, headroom(heard), charset)
    except ValueError:
        words = f"{status}: its answer cannot be read"
        raise errors.BrokenReplyError(call.model.model, words, patience(heard)) from None


def _line(error: Exception, call: Call) -> str:
    return (
        "connection: "
        + repeatable(why(error), (message.content for message in call.messages))[:180]
    )
