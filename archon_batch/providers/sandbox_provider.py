"""The sandbox as a provider: a call is a program with tests, the reply holds the test results."""

import asyncio
import os

from pydantic import ValidationError

from archon_batch.archon import (
    SANDBOX_MODEL,
    Call,
    Reply,
    SandboxRequest,
    SandboxResult,
    SandboxResults,
    Usage,
)
from archon_batch.errors import BadCallError, UnknownModelError
from archon_batch.sandbox import Sandbox, SandboxTest


class SandboxProvider:
    """Runs one program per processor at a time, each in two fresh sandbox processes.

    Raises:
        SettingsError: there is no sandbox on this machine.
    """

    def __init__(self) -> None:
        Sandbox()  # fails early where none is possible
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Run the program of the call; failed tests are a reply, not an error.

        Raises:
            ProviderError: the call is not a sandbox request.
        """
        del attempt_id  # there is no provider with records
        if call.model.model != SANDBOX_MODEL:
            raise UnknownModelError(call.model.model, f"no such sandbox; known is {SANDBOX_MODEL}")
        try:
            request = SandboxRequest.model_validate_json(call.messages[-1].content)
        except ValidationError:
            raise BadCallError(call.model.model, "the call is no program with tests") from None
        async with self._slots:
            results = await asyncio.to_thread(self._run, request)
        usage = Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0, reasoning_tokens=0)
        text = SandboxResults(results=results).model_dump_json()
        return Reply(text, usage=usage, finish_reason="stop", model=SANDBOX_MODEL)

    async def close(self) -> None:
        """Nothing to close: no sandbox process outlives its program."""

    def _run(self, request: SandboxRequest) -> list[SandboxResult]:
        tests = [SandboxTest(test) for test in request.tests]
        results = Sandbox(request.seconds).run_tests([request.program], tests)
        return [SandboxResult(verdict=result.verdict, why=result.why) for result in results]
