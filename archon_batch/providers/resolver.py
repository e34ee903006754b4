"""DNS lookup for calls that rejects link-local addresses.

The check happens at each connection, since a name may resolve to another address later. Behind a
proxy, the proxy looks the name up.
"""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from archon_batch.providers.blocked_hosts import LinkLocalError, host_problem


class GuardedResolver(AbstractResolver):
    """aiohttp's resolver, without link-local results."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._inner = ThreadedResolver(loop=loop)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of the host.

        Raises:
            LinkLocalError: one of them is link-local.
            OSError: it has none.
        """
        results = await self._inner.resolve(host, port, family)
        for result in results:
            if problem := host_problem(result["host"]):
                raise LinkLocalError(f"{host}: {problem}")
        return results

    async def close(self) -> None:
        await self._inner.close()
