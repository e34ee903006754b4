"""Which hosts an api_base may reach, and which key is sent there, with both transports."""

import asyncio
import socket

import pytest

from archon_batch import errors
from archon_batch.archon import Model
from archon_batch.providers import ProviderRouter, model_problem
from archon_batch.providers.blocked_hosts import ALLOW_VARIABLE, host_problem
from tests.builders import a_call
from tests.provider import ProviderServer

TRANSPORTS = pytest.mark.parametrize("transport", ["direct", "litellm"])
#: Notations of 169.254.169.254, and other addresses of metadata services.
LINK_LOCAL = [
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.16689662",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fe80::1]",
    "[FE80::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "169.254.1.1",
    "metadata.google.internal",
    "METADATA.Google.Internal.",
    "instance-data",
    "100.100.100.200",
]
OTHERS = "127.0.0.1 localhost [::1] 10.0.0.1 192.168.1.1 169.253.1.1 [fd00::1] llm.example.org"


def asked(model):
    """The result of one call of the model."""

    async def run():
        router = ProviderRouter(timeout=20.0)
        try:
            return await router.complete(a_call(model=model), "attempt-1")
        except errors.ProviderError as error:
            return error
        finally:
            await router.close()

    return asyncio.run(run())


@pytest.mark.parametrize("host", LINK_LOCAL)
def test_link_local_addresses_are_blocked_in_every_notation_unless_allowed(host, monkeypatch):
    model = Model(model="openai/m", api_base=f"http://{host}/v1")

    assert f"{ALLOW_VARIABLE}=1 allows calls to it" in str(
        model_problem(model, allow_unpriced=True)
    )

    monkeypatch.setenv(ALLOW_VARIABLE, "yes")
    assert model_problem(model, allow_unpriced=True) is None


@pytest.mark.parametrize("host", OTHERS.split())
def test_other_addresses_are_not_blocked(host):
    assert (
        model_problem(Model(model="openai/m", api_base=f"http://{host}/v1"), allow_unpriced=True)
        is None
    )


@TRANSPORTS
def test_a_job_with_a_blocked_address_stops_before_sending(transport):
    error = asked(
        Model(model="openai/m", api_base="http://169.254.169.254/v1", transport=transport)
    )

    assert isinstance(error, errors.UnknownModelError)
    assert error.stops_job
    assert ALLOW_VARIABLE in str(error)


@TRANSPORTS
def test_a_name_that_resolves_to_a_blocked_address_is_rejected(transport, monkeypatch):
    monkeypatch.setenv("AIOHTTP_TRUST_ENV", "")
    look_up = socket.getaddrinfo

    def led(host, *more, **how):
        return look_up("169.254.169.254" if host == "llm.example.org" else host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", led)

    error = asked(
        Model(model="openai/m", api_base="http://llm.example.org/v1", transport=transport)
    )

    assert isinstance(error, errors.UntrustedHostError)
    assert error.billing is errors.Billing.NOT_SENT
    assert "link-local" in str(error)


@TRANSPORTS
@pytest.mark.parametrize("bound", [False, True])
def test_no_header_is_sent_without_a_key(transport, bound, monkeypatch):
    if bound:
        monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "mine")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-host")
    with ProviderServer() as provider:
        asked(Model(model="openai/m", api_base=provider.url, transport=transport))

    ((headers, _),) = provider.recent_requests
    assert headers.get("Authorization") == ("Bearer mine" if bound else None)
    assert "none" not in headers.values()


@TRANSPORTS
@pytest.mark.parametrize("bound", [False, True])
def test_an_authentication_error_names_the_unset_key_variable(transport, bound, monkeypatch):
    if bound:
        monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "mine")
    with ProviderServer(faults=lambda _n: "401") as provider:
        error = asked(Model(model="openai/m", api_base=provider.url, transport=transport))

    assert isinstance(error, errors.CredentialsError)
    assert ("ARCHON_BATCH_KEY_127_0_0_1 is not set" in str(error)) is not bound


def test_an_error_shows_the_host_as_written():
    assert str(host_problem("2852039166")).startswith("2852039166 is link-local")
