"""The sandbox as a gateway: a call is a program with its tests, the reply is how these ended."""

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
    """Runs as many programs at once as there are processors; each gets two fresh boxes.

    Raises:
        SettingsError: there is no sandbox on this machine.
    """

    def __init__(self) -> None:
        Sandbox()  # refuses where there is none
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Run the program of the call; a program that fails its tests is an answer too.

        Raises:
            GatewayError: the call is no execution.
        """
        del attempt_id  # nobody else keeps records of it
        if call.model.model != SANDBOX_MODEL:
            raise UnknownModelError(call.model.model, f"no such sandbox; known is {SANDBOX_MODEL}")
        try:
            told = SandboxRequest.model_validate_json(call.messages[-1].content)
        except ValidationError:
            raise BadCallError(call.model.model, "the call is no program with tests") from None
        async with self._slots:
            results = await asyncio.to_thread(self._run, told)
        usage = Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0, reasoning_tokens=0)
        text = SandboxResults(results=results).model_dump_json()
        return Reply(text, usage=usage, finish_reason="stop", model=SANDBOX_MODEL)

    async def close(self) -> None:
        """Nothing is open: no box outlives its program."""

    def _run(self, execution: SandboxRequest) -> list[SandboxResult]:
        tests = [SandboxTest(test) for test in execution.tests]
        outcomes = Sandbox(execution.seconds).run_tests([execution.program], tests)
        return [SandboxResult(verdict=outcome.verdict, why=outcome.why) for outcome in outcomes]
