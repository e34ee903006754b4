"""Hands each call to the gateway of its model, which is opened when the first call needs it."""

import asyncio

from archon_batch.archon import Call, Reply
from archon_batch.errors import SettingsError, UnknownModelError
from archon_batch.gateway.lanes import is_direct
from archon_batch.gateway.scripted import ScriptedGateway
from archon_batch.gateway.seam import Gateway


class Router:
    """Serves ``local/...``, ``scripted/...`` and ``sandbox/...`` here, others by either lane."""

    def __init__(self, timeout: float) -> None:
        #: Seconds that a whole call may take.
        self._timeout = timeout
        self._open: dict[str, Gateway] = {}
        self._opening = asyncio.Lock()

    async def answer(self, call: Call, attempt: str) -> Reply:
        kind = call.model.provider
        if not call.model.is_here:
            kind = "direct" if is_direct(call.model) else "live"
        gateway = self._open.get(kind)
        if gateway is None:
            async with self._opening:
                gateway = self._open.get(kind)
                if gateway is None:
                    # Importing litellm takes two seconds, which the loop must not stand still for.
                    gateway = await asyncio.to_thread(self._opened, kind, call.model.model)
                    self._open[kind] = gateway
        return await gateway.answer(call, attempt)

    async def close(self) -> None:
        for gateway in self._open.values():
            await gateway.close()
        self._open.clear()

    def _opened(self, kind: str, model: str) -> Gateway:
        try:
            return self._make(kind)
        except SettingsError as error:
            # Nothing was sent, and every other call would end alike.
            raise UnknownModelError(model, str(error)) from error

    def _make(self, kind: str) -> Gateway:
        # Each of these costs an import that most processes never need.
        if kind == "scripted":
            return ScriptedGateway()
        if kind == "local":
            from archon_batch.gateway.local import LocalGateway  # noqa: PLC0415

            return LocalGateway(self._timeout)
        if kind == "sandbox":
            from archon_batch.gateway.sandboxed import SandboxGateway  # noqa: PLC0415

            return SandboxGateway()
        if kind == "direct":
            from archon_batch.gateway.direct import DirectGateway  # noqa: PLC0415

            return DirectGateway(self._timeout)
        from archon_batch.gateway.live import LiveGateway  # noqa: PLC0415

        return LiveGateway(self._timeout)
