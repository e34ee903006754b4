"""Looks up the hosts of calls, and takes no answer that no call may go to.

A name is looked up when a connection is made, and not before: what it stood for at a check may be
another address by then. Behind a proxy it is the proxy that looks up.
"""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from archon_batch.providers.blocked_hosts import LinkLocalError, host_problem


class GuardedResolver(AbstractResolver):
    """Looks names up as aiohttp does, and takes no answer that is link-local."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._inner = ThreadedResolver(loop=loop)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of the host.

        Raises:
            LinkLocalError: it has a link-local one.
            OSError: it has none.
        """
        found = await self._inner.resolve(host, port, family)
        for one in found:
            if why := host_problem(one["host"]):
                raise LinkLocalError(f"{host}: {why}")
        return found

    async def close(self) -> None:
        await self._inner.close()
