"""An execution: a candidate's program run against unit tests, as a call that a sandbox answers.

It is a call like any other, on record with its reply, so that a plan made again finds it.
"""

import json
from dataclasses import replace
from functools import cache
from typing import Literal

from pydantic import Field, TypeAdapter

from archon_batch.archon.call import Message, ReplyFormat
from archon_batch.archon.json_replies import JsonReply, json_reply_format, parse_json_reply
from archon_batch.archon.program_extraction import called_names, extract_program
from archon_batch.archon.requests import ReplyParseError, Request

#: The model that runs Python, by its name in architectures.
SANDBOX_MODEL = "sandbox/python"
#: Seconds of the clock that a test may take: when nothing is said, at the least, at the most.
DEFAULT_TEST_SECONDS, MIN_TEST_SECONDS, MAX_TEST_SECONDS = 3.0, 0.1, 60.0


class SandboxRequest(JsonReply):
    """What the sandbox is asked: the one message of the call, as JSON."""

    program: str
    tests: list[str]
    #: Of the clock, for one test.
    seconds: float = Field(
        default=DEFAULT_TEST_SECONDS, ge=MIN_TEST_SECONDS, le=MAX_TEST_SECONDS, allow_inf_nan=False
    )


class SandboxResult(JsonReply):
    #: ``broken``: the test is no Python, so that nobody can pass it.
    verdict: Literal["passed", "failed", "broken"]
    why: str = ""


class SandboxResults(JsonReply):
    """What the sandbox replies: one result for each test, in their order."""

    results: list[SandboxResult]


def sandbox_request(
    index: int, candidate_text: str, tests: tuple[str, ...], seconds: float | None = None
) -> Request:
    """The request to run the code of the answer against the tests, each for so long at the most."""
    program: dict[str, object] = {
        "program": extract_program(candidate_text, called_names(tests)),
        "tests": tests,
    }
    if seconds is not None:
        program["seconds"] = seconds
    # As json writes it: a lone surrogate has no other bytes.
    told = json.dumps(program)
    return Request(index, (Message("user", told),), sandbox_reply_format(len(tests)))


def parse_sandbox_results(text: str, count: int) -> tuple[SandboxResult, ...]:
    """The results of ``count`` tests.

    Raises:
        UnreadableError: it is something else.
    """
    results = parse_json_reply(TypeAdapter(SandboxResults), text).results
    if len(results) != count:
        raise ReplyParseError(f"there must be {count} results, and there are {len(results)}")
    return tuple(results)


@cache
def sandbox_reply_format(count: int) -> ReplyFormat:
    def results(verdict: Literal["passed", "failed"]) -> SandboxResults:
        return SandboxResults(results=[SandboxResult(verdict=verdict)] * count)

    # More text would stand in a verdict.
    return replace(json_reply_format(results("passed"), results("failed")), padding_offset=None)
