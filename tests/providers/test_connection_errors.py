"""The class of a failed connection depends on earlier answers of its host."""

import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from archon_batch.errors import UnknownHostError, UnreachableError
from archon_batch.providers.connection_errors import ReachedHosts, describe_connection_error

KEY: Any = SimpleNamespace(host="llm.example", port=443, ssl=True, is_ssl=True)


def unknown(code: int = socket.EAI_NONAME) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(code, "Name or service not known"))


def test_an_unknown_host_that_has_answered_before_is_an_outage() -> None:
    reached = ReachedHosts()
    assert reached.classify(unknown(), "llm.example") is UnknownHostError

    reached.add("llm.example")

    assert reached.classify(unknown(), "llm.example") is UnreachableError
    assert reached.classify(unknown(), "other.example") is UnknownHostError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (unknown(), "llm.example: Name or service not known"),
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "x")), "llm.example: Connection refused"),
        (aiohttp.ClientConnectorError(KEY, OSError("two of them failed")), "two of them failed"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (TimeoutError(), "TimeoutError"),
    ],
)  # fmt: skip
def test_a_connection_error_has_the_message_of_the_system(
    error: BaseException, message: str
) -> None:
    assert describe_connection_error(error) == message
