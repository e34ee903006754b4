"""Calls to the sandbox, which runs a candidate's program against unit tests.

They are calls like those to a model: stored with their replies, and found when an item is replayed.
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

#: The name of the sandbox in architectures.
SANDBOX_MODEL = "sandbox/python"
#: Wall-clock seconds of one test.
DEFAULT_TEST_SECONDS, MIN_TEST_SECONDS, MAX_TEST_SECONDS = 3.0, 0.1, 60.0


class SandboxRequest(JsonReply):
    """The message of the call, as JSON."""

    program: str
    tests: list[str]
    #: Wall-clock seconds of one test.
    seconds: float = Field(
        default=DEFAULT_TEST_SECONDS, ge=MIN_TEST_SECONDS, le=MAX_TEST_SECONDS, allow_inf_nan=False
    )


class SandboxResult(JsonReply):
    #: ``broken``: the test is not valid Python, so that no program can pass it.
    verdict: Literal["passed", "failed", "broken"]
    why: str = ""


class SandboxResults(JsonReply):
    """The reply of the sandbox: one result per test, in order."""

    results: list[SandboxResult]


def sandbox_request(
    index: int, candidate_text: str, tests: tuple[str, ...], seconds: float | None = None
) -> Request:
    """The request to run the program in the text against the tests, each for at most ``seconds``."""
    program: dict[str, object] = {
        "program": extract_program(candidate_text, called_names(tests)),
        "tests": tests,
    }
    if seconds is not None:
        program["seconds"] = seconds
    # json.dumps escapes lone surrogates, which pydantic cannot encode.
    content = json.dumps(program)
    return Request(index, (Message("user", content),), sandbox_reply_format(len(tests)))


def parse_sandbox_results(text: str, count: int) -> tuple[SandboxResult, ...]:
    """The results of ``count`` tests.

    Raises:
        ReplyParseError: the text has other results.
    """
    results = parse_json_reply(TypeAdapter(SandboxResults), text).results
    if len(results) != count:
        raise ReplyParseError(f"there must be {count} results, and there are {len(results)}")
    return tuple(results)


@cache
def sandbox_reply_format(count: int) -> ReplyFormat:
    def results(verdict: Literal["passed", "failed"]) -> SandboxResults:
        return SandboxResults(results=[SandboxResult(verdict=verdict)] * count)

    # Padding would be inserted into a verdict.
    return replace(json_reply_format(results("passed"), results("failed")), padding_offset=None)
