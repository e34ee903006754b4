"""The litellm provider, by real requests to a provider on loopback."""

import asyncio
import inspect
import json
from email.utils import formatdate
from importlib import import_module
from time import time
from typing import Any

import pytest

from archon_batch import errors
from archon_batch.archon import Call, CallKey, Message, Model, Reply, ReplyFormat, Usage
from archon_batch.errors import Billing
from archon_batch.providers.connection_errors import ReachedHosts
from tests.provider import ProviderServer

# The warnings that litellm_provider.py ignores: pytest resets the filters for each test.
PROMPT = "Which of the seven bridges of Koenigsberg did you cross last night?"
CANARY = "sk-canary-0123456789"

#: The error class of each fault of the server. With drop_params litellm by itself repeats a 422.
MEANT = {
    errors.BadCallError: "400 422 redirect",
    errors.BrokenReplyError: "cut garbage hangup html reset",
    errors.CallTimeoutError: "408 504 slow",
    errors.CredentialsError: "401",
    errors.PromptTooLongError: "413 too_long",
    errors.ProviderDownError: "403 529 overloaded",
    errors.ProviderFailedError: "409 500 502 503",
    errors.QuotaError: "402 insufficient_quota",
    errors.RateLimitError: "429",
    errors.RefusedError: "refused",
    errors.UnknownModelError: "404",
}
IN_DOUBT = {errors.BrokenReplyError, errors.CallTimeoutError, errors.ProviderFailedError}

#: Providers with several ways to find a key, or a special one.
NAMED = (
    "openai/m hosted_vllm/m anthropic/claude-sonnet-4-5 azure/m bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0 "
    "cohere_chat/m gemini/m gpt-4o groq/m mistral/m openrouter/m/n"
)


def litellm_provider() -> Any:
    """The module; imported by the first test that runs, since litellm takes seconds to import."""
    return import_module("archon_batch.providers.litellm_provider")


def litellm_exceptions() -> Any:
    """Imported after litellm_provider.py, which sets an environment variable first."""
    litellm_provider()
    return import_module("litellm.exceptions")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


#: Through the OpenAI SDK, and through the HTTP handler that most other providers share.
@pytest.fixture(scope="module", params=["openai/m", "hosted_vllm/m"])
def way(request):
    # The first call of a process imports for a second, too long for a short deadline.
    tried(request.param, deadline=60.0)
    return request.param


def a_call(api_base, model="openai/m", prompt=PROMPT, form=None, json_schema=None):
    messages = (Message("system", "You help."), Message("user", prompt))
    model = Model(model=model, api_base=api_base, json_schema=json_schema)
    return Call(CallKey(0, 0, 0, 0), "ranker", model, messages, 0, 0.7, 100, form)


async def answer(api_base, model="openai/m", prompt=PROMPT, deadline=5.0, **more):
    client = litellm_provider().LiteLLMProvider(deadline)
    try:
        return await client.complete(a_call(api_base, model, prompt, **more), "job/1")
    except errors.ProviderError as error:
        return error
    finally:
        await client.close()


def tried(model="openai/m", fault=None, *, prompt=PROMPT, deadline=5.0, **settings):
    """The server after one call, and the result of the call."""
    with ProviderServer(faults=lambda _: fault, **settings) as provider:
        return provider, asyncio.run(answer(provider.url, model, prompt, deadline))


def http(status, body):
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


def requests_and_result(response, *given, drip=0.0, **more):
    """The requests to a server that sends these bytes to every client, and the result."""
    requests = []

    async def serve(reader, writer):
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        step = 1 if drip else len(response)
        try:
            for start in range(0, len(response), step):
                writer.write(response[start : start + step])
                await asyncio.sleep(drip)
        finally:
            writer.close()

    async def run():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await answer(f"http://127.0.0.1:{port}/v1", *given, **more)

    return requests, asyncio.run(run())


@pytest.mark.parametrize(("kind", "fault"), [(k, f) for k in MEANT for f in MEANT[k].split()])
def test_every_failure_is_one_request_with_one_error_class(way, kind, fault):
    provider, error = tried(way, fault, deadline=0.4 if fault == "slow" else 5.0)
    assert provider.request_count == 1
    assert type(error) is kind
    assert error.billing is (Billing.IN_DOUBT if kind in IN_DOUBT else Billing.NOT_BILLED)


@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "https://nosuch.invalid/v1"])
def test_an_unreachable_host_means_not_sent(way, base):
    error = asyncio.run(answer(base, way))
    # Only with a reachable name server is a host known to be unknown.
    assert isinstance(error, errors.UnreachableError | errors.UnknownHostError)
    assert isinstance(error, errors.UnreachableError) or "nosuch" in base
    assert error.billing is Billing.NOT_SENT


def test_a_reply_has_all_fields_of_the_response(way):
    provider, reply = tried(way)
    headers, body = provider.recent_requests[0]
    entry = provider.entries[0]
    usage = Usage(entry.prompt_tokens, entry.completion_tokens)
    assert reply.text
    assert reply == Reply(reply.text, usage=usage, finish_reason="stop", model="m")
    assert headers["X-Client-Request-Id"] == "job/1"
    assert body["temperature"] == 0.7
    assert body["max_tokens"] == 100
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("fault", ["empty", "null", "no_choices"])
def test_a_response_without_text_is_an_empty_reply(way, fault):
    provider, reply = tried(way, fault)
    entry = provider.entries[0]
    usage = Usage(entry.prompt_tokens, entry.completion_tokens)
    finish = None if fault == "no_choices" else "stop"
    assert reply == Reply("", usage=usage, finish_reason=finish, model="m")


@pytest.mark.parametrize("fault", ["no_usage", "negative_usage"])
def test_unreported_tokens_are_not_zero(way, fault):
    _, reply = tried(way, fault)
    assert reply.text
    assert reply.usage == Usage()


def test_cached_and_reasoning_tokens_are_counted_separately(way):
    usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    thoughts = {"completion_tokens_details": {"reasoning_tokens": 3}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    response = http(
        "200 OK", {**body, "choices": [choice], "usage": {**usage, **details, **thoughts}}
    )
    _, reply = requests_and_result(response, way)
    assert reply.usage == Usage(9, 7, cached_tokens=4, reasoning_tokens=3)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("soon", None), ("-1", None), ("", None)]
)
def test_retry_after_is_parsed_in_seconds(header, seconds):
    assert tried(fault="429", retry_after=header)[1].retry_after == seconds


def test_retry_after_is_parsed_as_a_date():
    _, error = tried(fault="429", retry_after=formatdate(time() + 60))
    assert 50 < error.retry_after <= 60
    _, error = tried(fault="429", retry_after=formatdate(time() - 60))
    assert error.retry_after == 0


def test_a_slow_response_ends_at_the_deadline(way):
    requests, error = requests_and_result(http("200 OK", {}), way, drip=0.05, deadline=0.4)
    assert isinstance(error, errors.CallTimeoutError)
    assert len(requests) == 1


@pytest.mark.parametrize("model", NAMED.split())
def test_no_provider_key_is_sent_to_an_api_base(model, monkeypatch):
    for name in ["ANTHROPIC", "AZURE", "COHERE", "GEMINI", "GROQ", "MISTRAL", "OPENROUTER"]:
        monkeypatch.setenv(f"{name}_API_KEY", CANARY)
    for name in ["AZURE_AD_TOKEN", "OPENAI_ORGANIZATION", "OPENAI_PROJECT_ID"]:
        monkeypatch.setenv(name, CANARY)
    for name in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "BEARER_TOKEN_BEDROCK"]:
        monkeypatch.setenv(f"AWS_{name}", CANARY)
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    requests, error = requests_and_result(http("400 Bad Request", {}), model)
    assert len(requests) == 1, error
    assert CANARY.encode() not in requests[0]


def test_an_api_base_gets_the_key_of_its_host(way, monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    provider, _ = tried(way)
    assert provider.recent_requests[0][0]["Authorization"] == "Bearer for-this-host"


def test_the_temperature_is_dropped_for_models_without_one():
    provider, _ = tried("openai/o1")
    _, body = provider.recent_requests[0]
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 100


@pytest.mark.parametrize(
    ("model", "own", "held"),
    [
        ("openai/gpt-4o-mini", None, True),
        ("openai/gpt-4", None, False),
        ("hosted_vllm/m", None, False),
        ("hosted_vllm/m", True, True),
        ("openai/gpt-4o-mini", False, False),
    ],
)
def test_the_schema_is_sent_to_models_that_support_it(model, own, held):
    form = ReplyFormat(None, "{}", schema='{"type": "object"}')
    with ProviderServer() as provider:
        reply = asyncio.run(answer(provider.url, model, form=form, json_schema=own, deadline=60.0))
        _, body = provider.recent_requests[0]
    assert isinstance(reply, Reply)
    assert ("response_format" in body) is held
    if held:
        schema = {"name": "ranker", "schema": {"type": "object"}, "strict": True}
        assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


@pytest.mark.parametrize(
    "words",
    [
        f"Cannot parse {PROMPT!r}",
        json.dumps({"input": PROMPT}),
        f"Bad key {CANARY}, and Bearer abcdefgh, and sk-{'x' * 20}, and AIzaSy{'x' * 20}",
        "for-this-host is no key of ours",
        "long\n" * 200,
        # A quoted prompt must not stop a job.
        "Cannot parse: insufficient_quota",
    ],
)
def test_the_message_is_one_short_line_without_prompt_or_key(way, words, monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    response = http("400 Bad Request", {"error": {"message": words, "type": "x"}})
    _, error = requests_and_result(response, way, f"{PROMPT}\n\ninsufficient_quota")
    assert type(error) is errors.BadCallError
    assert 0 < len(error.why) <= 200
    assert "\n" not in error.why
    secrets = ["bridges", CANARY, "abcdefgh", "xxx", "for-this-host"]
    assert not [secret for secret in secrets if secret in error.why]


def test_every_exception_of_litellm_has_an_error_class():
    classes = [member for _, member in inspect.getmembers(litellm_exceptions(), inspect.isclass)]
    names = {member.__name__ for member in classes if issubclass(member, BaseException)}
    assert len(names) > 30
    assert names <= set(litellm_provider().ERROR_CLASSES)


def test_an_unlisted_exception_has_the_class_of_its_nearest_base():
    newer = type("NewerError", (litellm_exceptions().ContextWindowExceededError,), {})
    error = newer("too long", "m", "openai")
    assert (
        litellm_provider()._classify_failure(
            error, a_call(None), litellm_provider()._HttpTrace(ReachedHosts())
        )
        is errors.PromptTooLongError
    )


def test_an_unknown_exception_is_a_broken_reply_with_its_name():
    error, call, wire = (
        ZeroDivisionError("oh"),
        a_call(None),
        litellm_provider()._HttpTrace(ReachedHosts(), posted_urls={"somewhere"}),
    )
    assert litellm_provider()._classify_failure(error, call, wire) is errors.BrokenReplyError
    assert litellm_provider()._failure_message(error, call, wire) == "ZeroDivisionError: oh"


def test_a_missing_key_stops_the_job_before_sending(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert isinstance(asyncio.run(answer(None)), errors.CredentialsError)
    assert litellm_provider().missing_litellm_variables("openai/m") == ("OPENAI_API_KEY",)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert (
        litellm_provider().missing_litellm_variables("openai/m")
        == litellm_provider().missing_litellm_variables("hosted_vllm/m")
        == ()
    )


def test_an_unknown_provider_stops_the_job():
    assert isinstance(asyncio.run(answer(None, "nosuch/m")), errors.UnknownModelError)


def test_a_prompt_that_cannot_be_encoded_is_a_bad_call():
    provider, error = tried(prompt="half a pair: \ud800")
    assert isinstance(error, errors.BadCallError)
    assert provider.request_count == 0


def test_concurrent_calls_get_their_own_replies():
    async def run(url):
        client = litellm_provider().LiteLLMProvider(30.0)
        calls = [
            a_call(url, f"{w}/m", f"{n}") for n in range(32) for w in ("openai", "hosted_vllm")
        ]
        jobs = [client.complete(call, f"job/{n}") for n, call in enumerate(calls)]
        replies = await asyncio.gather(*jobs)
        await client.close()
        return [reply.text for reply in replies]

    with ProviderServer(latency=0.3) as provider:
        texts = asyncio.run(run(provider.url))
    assert provider.request_count == 64
    assert provider.max_concurrent > 32
    assert {e.client_request_id for e in provider.entries} == {f"job/{n}" for n in range(64)}
    assert texts[::2] == texts[1::2]
    assert len(set(texts)) == 32


def test_the_provider_refuses_settings_that_bypass_the_trace(monkeypatch):
    monkeypatch.setenv("DISABLE_AIOHTTP_TRANSPORT", "True")
    with pytest.raises(errors.SettingsError):
        litellm_provider().LiteLLMProvider(5.0)
