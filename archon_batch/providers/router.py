"""Hands each call to the gateway of its model, which is opened when the first call needs it."""

import asyncio

from archon_batch.archon import Call, Reply
from archon_batch.errors import CredentialsError, SettingsError, UnknownModelError
from archon_batch.providers.blocked_hosts import why_not_called
from archon_batch.providers.credentials import unbound
from archon_batch.providers.endpoints import is_direct
from archon_batch.providers.scripted import ScriptedGateway
from archon_batch.providers.seam import Gateway


class Router:
    """Serves ``local/...``, ``scripted/...`` and ``sandbox/...`` here, others by either lane."""

    def __init__(self, timeout: float) -> None:
        #: Seconds that a whole call may take.
        self._timeout = timeout
        self._open: dict[str, Gateway] = {}
        self._opening = asyncio.Lock()
        self._places: dict[str, str | None] = {}

    async def answer(self, call: Call, attempt: str) -> Reply:
        kind, place = call.model.provider, call.model.api_base
        if place is not None and (why := self._refused(place)):
            raise UnknownModelError(call.model.model, why)
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
        try:
            return await gateway.answer(call, attempt)
        except CredentialsError as error:
            if lacking := unbound(call.model.api_base):
                raise CredentialsError(error.model, f"{error.why}; {lacking} is not set") from None
            raise

    def _refused(self, api_base: str) -> str | None:
        """Why no call may go there; asked once, as it is the same for all."""
        if api_base not in self._places:
            self._places[api_base] = why_not_called(api_base)
        return self._places[api_base]

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
            from archon_batch.providers.local_model import LocalGateway  # noqa: PLC0415

            return LocalGateway(self._timeout)
        if kind == "sandbox":
            from archon_batch.providers.sandbox_provider import SandboxGateway  # noqa: PLC0415

            return SandboxGateway()
        if kind == "direct":
            from archon_batch.providers.openai_compatible import DirectGateway  # noqa: PLC0415

            return DirectGateway(self._timeout)
        from archon_batch.providers.litellm_provider import LiveGateway  # noqa: PLC0415

        return LiveGateway(self._timeout)
