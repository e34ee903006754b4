"""An execution: a candidate's program run against unit tests, as a call that a sandbox answers.

It is a call like any other, on record with its reply, so that a plan made again finds it.
"""

import json
from dataclasses import replace
from functools import cache
from typing import Literal

from pydantic import Field, TypeAdapter

from archon_batch.archon.call import Form, Message
from archon_batch.archon.json_replies import JsonReply, json_form, read_json
from archon_batch.archon.program_extraction import called_in, code_of
from archon_batch.archon.requests import Request, UnreadableError

#: The model that runs Python, by its name in architectures.
SANDBOX = "sandbox/python"
#: Seconds of the clock that a test may take: when nothing is said, at the least, at the most.
SECONDS, LEAST_SECONDS, MOST_SECONDS = 3.0, 0.1, 60.0


class Execution(JsonReply):
    """What the sandbox is asked: the one message of the call, as JSON."""

    program: str
    tests: list[str]
    #: Of the clock, for one test.
    seconds: float = Field(default=SECONDS, ge=LEAST_SECONDS, le=MOST_SECONDS, allow_inf_nan=False)


class Result(JsonReply):
    #: ``broken``: the test is no Python, so that nobody can pass it.
    verdict: Literal["passed", "failed", "broken"]
    why: str = ""


class Results(JsonReply):
    """What the sandbox replies: one result for each test, in their order."""

    results: list[Result]


def execution(
    slot: int, answer: str, tests: tuple[str, ...], seconds: float | None = None
) -> Request:
    """The request to run the code of the answer against the tests, each for so long at the most."""
    program: dict[str, object] = {"program": code_of(answer, called_in(tests)), "tests": tests}
    if seconds is not None:
        program["seconds"] = seconds
    # As json writes it: a lone surrogate has no other bytes.
    told = json.dumps(program)
    return Request(slot, (Message("user", told),), form(len(tests)))


def read(text: str, count: int) -> tuple[Result, ...]:
    """The results of ``count`` tests.

    Raises:
        UnreadableError: it is something else.
    """
    results = read_json(TypeAdapter(Results), text).results
    if len(results) != count:
        raise UnreadableError(f"there must be {count} results, and there are {len(results)}")
    return tuple(results)


@cache
def form(count: int) -> Form:
    def results(verdict: Literal["passed", "failed"]) -> Results:
        return Results(results=[Result(verdict=verdict)] * count)

    # More text would stand in a verdict.
    return replace(json_form(results("passed"), results("failed")), room=None)
