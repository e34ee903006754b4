"""The sandbox as a gateway: a call is a program with its tests, the reply is how these ended."""

import asyncio
import os

from pydantic import ValidationError

from archon_batch.archon import SANDBOX, Call, Execution, Reply, Result, Results, Usage
from archon_batch.errors import BadCallError, UnknownModelError
from archon_batch.sandbox import Check, Sandbox


class SandboxGateway:
    """Runs as many programs at once as there are processors; each gets two fresh boxes.

    Raises:
        SettingsError: there is no sandbox on this machine.
    """

    def __init__(self) -> None:
        Sandbox()  # refuses where there is none
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def answer(self, call: Call, attempt: str) -> Reply:
        """Run the program of the call; a program that fails its tests is an answer too.

        Raises:
            GatewayError: the call is no execution.
        """
        del attempt  # nobody else keeps records of it
        if call.model.model != SANDBOX:
            raise UnknownModelError(call.model.model, f"no such sandbox; known is {SANDBOX}")
        try:
            told = Execution.model_validate_json(call.messages[-1].content)
        except ValidationError:
            raise BadCallError(call.model.model, "the call is no program with tests") from None
        async with self._turns:
            results = await asyncio.to_thread(self._run, told)
        usage = Usage(prompt=0, completion=0, cached=0, reasoning=0)
        text = Results(results=results).model_dump_json()
        return Reply(text, usage=usage, finish="stop", model=SANDBOX)

    async def close(self) -> None:
        """Nothing is open: no box outlives its program."""

    def _run(self, told: Execution) -> list[Result]:
        tests = [Check(test) for test in told.tests]
        outcomes = Sandbox(told.seconds).tested([told.program], tests)
        return [Result(verdict=outcome.verdict, why=outcome.why) for outcome in outcomes]
