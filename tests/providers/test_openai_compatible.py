"""The direct transport: which calls use it, and which key it sends where."""

import asyncio
import subprocess
import sys

import pytest

from archon_batch import errors
from archon_batch.archon import Call, CallKey, Message, Model
from archon_batch.providers import is_direct, missing_variables, model_problem
from archon_batch.providers.endpoints import endpoint_for
from archon_batch.providers.openai_compatible import OpenAICompatibleProvider
from tests.provider import ProviderServer

BASE = "http://127.0.0.1:9/v1"
CANARY = "sk-canary-0123456789"


def a_call(model, prompt="What is 2 plus 2?"):
    return Call(CallKey(0, 0, 0, 0), "ranker", model, (Message("user", prompt),), 0, 0.7, 100, None)


@pytest.mark.parametrize(
    ("name", "base", "transport", "direct"),
    [
        ("openai/gpt-4o-mini", None, None, True),
        ("openai/ft:gpt-4o-mini:org::1", None, None, True),
        ("openai/gpt-4o-search-preview", None, None, False),
        ("openai/gpt-5", None, None, False),
        ("openai/o3", None, None, False),
        ("openai/o1", BASE, None, False),
        ("openai/unheard-of", None, None, False),
        ("openai/unheard-of", BASE, None, True),
        ("openai/gpt-oss-20b", BASE, None, True),
        ("hosted_vllm/org/m", BASE, None, True),
        ("hosted_vllm/m", None, None, False),
        ("openrouter/org/m", None, None, True),
        ("anthropic/claude-haiku-4-5", BASE, None, False),
        ("openai/m", "http://user:word@127.0.0.1/v1", None, False),
        ("openai/m", BASE, "litellm", False),
        ("anthropic/m", BASE, "direct", True),
    ],
)
def test_the_transport_depends_on_provider_model_family_and_address(name, base, transport, direct):
    assert is_direct(Model(model=name, api_base=base, transport=transport)) is direct


def test_a_key_is_sent_to_its_own_host_only(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert endpoint_for(Model(model="openai/gpt-4o")) == (
        "https://api.openai.com/v1/chat/completions",
        CANARY,
    )
    assert endpoint_for(Model(model="openai/gpt-4o", api_base=BASE)).key == ""
    monkeypatch.setenv("OPENAI_BASE_URL", BASE)
    with pytest.raises(errors.UnknownModelError, match="OPENAI_BASE_URL"):
        endpoint_for(Model(model="openai/gpt-4o"))


def test_a_missing_or_invalid_key_stops_the_job_before_sending(monkeypatch):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    model = Model(model="openrouter/org/m")
    assert missing_variables(model) == ("OPENROUTER_API_KEY",)
    for key in ("", "two\r\nlines: x"):
        monkeypatch.setenv("OPENROUTER_API_KEY", key)
        with pytest.raises(errors.CredentialsError) as caught:
            endpoint_for(model)
        assert "lines" not in str(caught.value)


def test_a_direct_transport_without_address_is_reported_before_the_job():
    assert "api_base" in str(model_problem(Model(model="anthropic/m", transport="direct")))


def test_a_response_beyond_the_limit_is_a_broken_reply(monkeypatch):
    monkeypatch.setattr("archon_batch.providers.response_bodies.MAX_BODY_BYTES", 64)

    async def run(url):
        client = OpenAICompatibleProvider(5.0)
        with pytest.raises(errors.BrokenReplyError):
            await client.complete(a_call(Model(model="openai/m", api_base=url)), "job/1")
        await client.close()

    with ProviderServer() as provider:
        asyncio.run(run(provider.url))
    assert provider.request_count == 1


def test_a_prompt_that_cannot_be_encoded_is_not_sent():
    async def run():
        with pytest.raises(errors.BadCallError):
            await OpenAICompatibleProvider(5.0).complete(
                a_call(Model(model="openai/m", api_base=BASE), "\ud800"), "1"
            )

    asyncio.run(run())


@pytest.mark.slow
def test_the_direct_transport_never_imports_litellm():
    script = (
        "import asyncio, sys\n"
        "from tests.providers.test_openai_compatible import a_call, Model\n"
        "from archon_batch.providers import ProviderRouter\n"
        "async def run():\n"
        "    router = ProviderRouter(5.0)\n"
        "    model = Model(model='openai/m', api_base=sys.argv[1])\n"
        "    print((await router.complete(a_call(model), '1')).text)\n"
        "    await router.close()\n"
        "asyncio.run(run())\n"
        "assert 'litellm' not in sys.modules\n"
    )
    with ProviderServer() as provider:
        done = subprocess.run(
            [sys.executable, "-c", script, provider.url], check=True, capture_output=True
        )
    assert done.stdout.strip()
