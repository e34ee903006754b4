"""The direct gateway: one POST to an address that speaks like OpenAI's, and what came of it.

aiohttp repeats no POST, so a call is one request. What happened on the wire decides the class: no
connection is not sent; a connection that ended without a whole answer is in doubt.
"""

import asyncio
import json
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # undeclared, and documented
    getproxies_environment,
    proxy_bypass_environment,
)

import aiohttp

from archon_batch import errors
from archon_batch.archon import Call, Model, Reply
from archon_batch.errors import GatewayError, TransientError
from archon_batch.gateway import bodies, completions
from archon_batch.gateway.censor import repeatable
from archon_batch.gateway.headers import headroom
from archon_batch.gateway.lanes import Target, target
from archon_batch.gateway.outcomes import PROMPT_SAYINGS, SAYINGS, of_status, said
from archon_batch.gateway.reach import UNREACHED, Reached, why
from archon_batch.gateway.resolver import Guard
from archon_batch.gateway.waits import patience, tell

#: Seconds to reach a host, and that a connection may idle: fewer than the five after which common
#: servers close theirs, since a request into one that is being closed is in doubt.
_CONNECT, _IDLE = 10.0, 4.0
_REFUSED, _SERVED = 400, 2


class DirectGateway:
    """One session a process; calls at once are bounded by whoever places them."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call, however slowly its answer drips.
        self._timeout = timeout
        self._reached = Reached()
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}
        self._targets: dict[tuple[str, str | None], Target] = {}

    async def answer(self, call: Call, attempt: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Raises:
            GatewayError: there was no reply, or none that could be read.
        """
        name = call.model.model
        url, key = self._target(call.model)
        try:
            data = completions.request(call)
        except UnicodeEncodeError:
            raise errors.BadCallError(name, "the prompt is no Unicode text") from None
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": bodies.ENCODINGS,
            "X-Client-Request-Id": attempt,
            # A server without a key is asked without one: some refuse a word that is none.
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        heard: Mapping[str, str] = {}
        status, body = 0, b""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._opened().post(
                    url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy(url)
                ) as response,
            ):
                status, heard = response.status, response.headers
                self._reached.add(urlsplit(url).hostname)
                packed = heard.get("Content-Encoding")
                body = await bodies.read(response.content.iter_any(), packed, status)
        except UNREACHED as error:
            kind = self._reached.meaning(error, urlsplit(url).hostname)
            raise kind(name, _line(error, call)) from None
        except aiohttp.InvalidURL:
            raise errors.BadCallError(name, "its address is none") from None
        except TimeoutError:
            raise errors.CallTimeoutError(name, "no answer in time", patience(heard)) from None
        except Exception as error:  # noqa: BLE001  (whatever it was, the request may have arrived)
            if status < _REFUSED:
                raise errors.BrokenReplyError(name, _line(error, call), patience(heard)) from None
        if status // 100 != _SERVED:
            raise _refusal(call, status, heard, body)
        try:
            return completions.reply(body, headroom(heard))
        except ValueError:
            why = f"{status}: its answer cannot be read"
            raise errors.BrokenReplyError(name, why, patience(heard)) from None

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


def _refusal(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    kind, text = of_status(status), body.decode("utf-8", "replace")
    prompts = [message.content for message in call.messages]
    if kind in {errors.BadCallError, errors.RateLimitError}:
        sayings = SAYINGS if kind is errors.RateLimitError else {**SAYINGS, **PROMPT_SAYINGS}
        kind = said(text, prompts, sayings) or kind
    words = "a redirect, and none is followed" if status < _REFUSED else _message(text)
    why = f"{status}: {repeatable(words, prompts)}"[:200]
    refusal = kind(call.model.model, why)
    if isinstance(refusal, TransientError):
        tell(refusal, headers, text, prompts)
    return refusal


def _message(text: str) -> str:
    """The words for people in an error's body, or all of it."""
    try:
        error = json.loads(text)["error"]
        return str(error if isinstance(error, str) else error["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _line(error: Exception, call: Call) -> str:
    return (
        "connection: "
        + repeatable(why(error), (message.content for message in call.messages))[:180]
    )
