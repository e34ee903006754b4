"""Hands each call to the gateway of its model, which is opened when the first call needs it."""

import asyncio

from archon_batch.archon import Call, Reply
from archon_batch.errors import CredentialsError, SettingsError, UnknownModelError
from archon_batch.providers.blocked_hosts import api_base_problem
from archon_batch.providers.credentials import missing_key_variable
from archon_batch.providers.endpoints import is_direct
from archon_batch.providers.scripted import ScriptedProvider
from archon_batch.providers.seam import Provider


class ProviderRouter:
    """Serves ``local/...``, ``scripted/...`` and ``sandbox/...`` here, others by either lane."""

    def __init__(self, timeout: float) -> None:
        #: Seconds that a whole call may take.
        self._timeout = timeout
        self._providers: dict[str, Provider] = {}
        self._open_lock = asyncio.Lock()
        self._host_problems: dict[str, str | None] = {}

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        kind, place = call.model.provider, call.model.api_base
        if place is not None and (why := self._host_problem(place)):
            raise UnknownModelError(call.model.model, why)
        if not call.model.is_local:
            kind = "direct" if is_direct(call.model) else "live"
        gateway = self._providers.get(kind)
        if gateway is None:
            async with self._open_lock:
                gateway = self._providers.get(kind)
                if gateway is None:
                    # Importing litellm takes two seconds, which the loop must not stand still for.
                    gateway = await asyncio.to_thread(self._open_provider, kind, call.model.model)
                    self._providers[kind] = gateway
        try:
            return await gateway.complete(call, attempt_id)
        except CredentialsError as error:
            if lacking := missing_key_variable(call.model.api_base):
                raise CredentialsError(error.model, f"{error.why}; {lacking} is not set") from None
            raise

    def _host_problem(self, api_base: str) -> str | None:
        """Why no call may go there; asked once, as it is the same for all."""
        if api_base not in self._host_problems:
            self._host_problems[api_base] = api_base_problem(api_base)
        return self._host_problems[api_base]

    async def close(self) -> None:
        for gateway in self._providers.values():
            await gateway.close()
        self._providers.clear()

    def _open_provider(self, kind: str, model: str) -> Provider:
        try:
            return self._create_provider(kind)
        except SettingsError as error:
            # Nothing was sent, and every other call would end alike.
            raise UnknownModelError(model, str(error)) from error

    def _create_provider(self, kind: str) -> Provider:
        # Each of these costs an import that most processes never need.
        if kind == "scripted":
            return ScriptedProvider()
        if kind == "local":
            from archon_batch.providers.local_model import LocalModelProvider  # noqa: PLC0415

            return LocalModelProvider(self._timeout)
        if kind == "sandbox":
            from archon_batch.providers.sandbox_provider import SandboxProvider  # noqa: PLC0415

            return SandboxProvider()
        if kind == "direct":
            from archon_batch.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

            return OpenAICompatibleProvider(self._timeout)
        from archon_batch.providers.litellm_provider import LiteLLMProvider  # noqa: PLC0415

        return LiteLLMProvider(self._timeout)
