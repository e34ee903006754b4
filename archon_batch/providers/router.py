"""Routes each call to the provider of its model; a provider opens at its first call."""

import asyncio
from typing import Protocol

from archon_batch.archon import Call, Reply
from archon_batch.errors import CredentialsError, SettingsError, UnknownModelError
from archon_batch.providers.blocked_hosts import api_base_problem
from archon_batch.providers.credentials import missing_key_variable
from archon_batch.providers.endpoints import is_direct
from archon_batch.providers.scripted import ScriptedProvider


class Provider(Protocol):
    """Executes calls; the one interface between this package and model providers."""

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make exactly one request, without any retry.

        Args:
            call: the prompt and its parameters.
            attempt_id: the attempt's id in the ledger, sent along for the provider's records.

        Raises:
            ProviderError: there is no reply; its ``billing`` says whether the attempt is billed.
        """
        ...

    async def close(self) -> None: ...


class ProviderRouter:
    """Serves ``local/...``, ``scripted/...`` and ``sandbox/...`` here, the rest by HTTP or litellm."""

    def __init__(self, timeout: float) -> None:
        #: Seconds for a whole call.
        self._timeout = timeout
        self._providers: dict[str, Provider] = {}
        self._open_lock = asyncio.Lock()
        #: Per api_base, why no call may go there, or None.
        self._host_problems: dict[str, str | None] = {}

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        transport, api_base = call.model.provider, call.model.api_base
        if api_base is not None and (problem := self._host_problem(api_base)):
            raise UnknownModelError(call.model.model, problem)
        if not call.model.is_local:
            transport = "direct" if is_direct(call.model) else "litellm"
        provider = self._providers.get(transport)
        if provider is None:
            async with self._open_lock:
                provider = self._providers.get(transport)
                if provider is None:
                    # The import of litellm takes two seconds: keep it off the event loop.
                    provider = await asyncio.to_thread(
                        self._open_provider, transport, call.model.model
                    )
                    self._providers[transport] = provider
        try:
            return await provider.complete(call, attempt_id)
        except CredentialsError as error:
            if variable := missing_key_variable(call.model.api_base):
                raise CredentialsError(error.model, f"{error.why}; {variable} is not set") from None
            raise

    def _host_problem(self, api_base: str) -> str | None:
        if api_base not in self._host_problems:
            self._host_problems[api_base] = api_base_problem(api_base)
        return self._host_problems[api_base]

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()
        self._providers.clear()

    def _open_provider(self, transport: str, model: str) -> Provider:
        try:
            return self._create_provider(transport)
        except SettingsError as error:
            # Nothing was sent, and every other call would fail alike.
            raise UnknownModelError(model, str(error)) from error

    def _create_provider(self, transport: str) -> Provider:
        # Import lazily: most processes need only one of these.
        if transport == "scripted":
            return ScriptedProvider()
        if transport == "local":
            from archon_batch.providers.local_model import LocalModelProvider  # noqa: PLC0415

            return LocalModelProvider(self._timeout)
        if transport == "sandbox":
            from archon_batch.providers.sandbox_provider import SandboxProvider  # noqa: PLC0415

            return SandboxProvider()
        if transport == "direct":
            from archon_batch.providers.openai_compatible import (  # noqa: PLC0415
                OpenAICompatibleProvider,
            )

            return OpenAICompatibleProvider(self._timeout)
        from archon_batch.providers.litellm_provider import LiteLLMProvider  # noqa: PLC0415

        return LiteLLMProvider(self._timeout)
