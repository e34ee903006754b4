"""What a provider does, and what both lanes make of it: requests, class, money."""

import asyncio
import gzip
import json

import pytest

from archon_batch import errors
from archon_batch.archon import Call, CallKey, Message, Model, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.gateway import Router

PROMPT = "Which of the seven bridges of Koenigsberg did you cross last night?"
USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}


def completion(message, finish="stop", usage=USAGE):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    top = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return {**top, "choices": [choice], "usage": usage}


def http(status, body=b"", kind="application/json", length=None, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}"]
    lines += [f"Content-Length: {len(data) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def refused(status, code="x", message="No luck.", **headers):
    kind = "invalid_request_error" if status == 400 else code
    return http(status, {"error": {"message": message, "type": kind, "code": code}}, **headers)


CUT_CHUNK = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"choices"'
FOUR = completion({"content": "4"})
SAID = Reply("4", usage=Usage(9, 7), finish="stop", model="m")
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
LONG = "This model's maximum context length is 9 tokens."

#: What is served, and the reply that it is.
REPLIES = {
    "plain": (http(200, FOUR), SAID),
    "compressed": (
        http(200, gzip.compress(json.dumps(FOUR).encode()), Content_Encoding="gzip"),
        SAID,
    ),
    "length": (
        http(200, completion({"content": "4"}, "length")),
        Reply("4", usage=Usage(9, 7), finish="length", model="m"),
    ),
    "filtered": (
        http(200, completion({"content": ""}, "content_filter")),
        Reply("", usage=Usage(9, 7), finish="content_filter", model="m"),
    ),
    "refusal": (
        http(200, completion({"content": None, "refusal": "I cannot."})),
        Reply("", usage=Usage(9, 7), finish="stop", model="m"),
    ),
    "reasoning": (http(200, completion({"content": "4", "reasoning_content": "two, two"})), SAID),
    "thoughts": (http(200, completion({"content": "<think>two, two</think>4"})), SAID),
    "no choices": (
        http(200, {**FOUR, "choices": []}),
        Reply("", usage=Usage(9, 7), model="m"),
    ),
    "details": (
        http(200, completion({"content": "4"}, usage={**USAGE, **DETAILS})),
        Reply("4", usage=Usage(9, 7, cached=4, reasoning=3), finish="stop", model="m"),
    ),
    "no usage": (
        http(200, {k: v for k, v in FOUR.items() if k != "usage"}),
        Reply("4", finish="stop", model="m"),
    ),
}
#: What is served, and the class of what it means.
FAILURES = {
    "cut": (http(200, b'{"choices": [{"mess', length=500), errors.BrokenReplyError),
    "chunk cut": (CUT_CHUNK, errors.BrokenReplyError),
    "hangup": (b"", errors.BrokenReplyError),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", errors.BrokenReplyError),
    "garbage": (http(200, b'{"choices": [{"mess'), errors.BrokenReplyError),
    "not UTF-8": (http(200, b'{"choices": "\xff\xfe"}'), errors.BrokenReplyError),
    "not gzip": (http(200, b"{}", Content_Encoding="gzip"), errors.BrokenReplyError),
    "html": (http(200, b"<html>All is well</html>", "text/html"), errors.BrokenReplyError),
    "empty": (http(200), errors.BrokenReplyError),
    "error under 200": (
        http(200, {"error": {"code": 502, "message": "Provider returned error"}}),
        errors.BrokenReplyError,
    ),
    "307": (refused(307, Location="/elsewhere"), errors.BadCallError),
    "400": (refused(400), errors.BadCallError),
    "422": (refused(422), errors.BadCallError),
    "too long": (refused(400, "context_length_exceeded", LONG), errors.PromptTooLongError),
    "too long for vLLM": (refused(400, "BadRequestError", LONG), errors.PromptTooLongError),
    "413": (refused(413), errors.PromptTooLongError),
    "policy": (refused(400, "content_policy_violation", "Against it."), errors.RefusedError),
    "401": (refused(401), errors.CredentialsError),
    "403": (refused(403), errors.CredentialsError),
    "402": (refused(402), errors.QuotaError),
    "quota": (refused(429, "insufficient_quota"), errors.QuotaError),
    "404": (refused(404, "model_not_found"), errors.UnknownModelError),
    "408": (refused(408), errors.CallTimeoutError),
    "409": (refused(409), errors.ProviderDownError),
    "429": (refused(429), errors.RateLimitError),
    "500": (refused(500), errors.ProviderDownError),
    "502 of a proxy": (http(502, b"<html>Bad</html>", "text/html"), errors.ProviderDownError),
    "503": (refused(503), errors.ProviderDownError),
    "504": (refused(504), errors.CallTimeoutError),
    "529": (refused(529), errors.ProviderDownError),
}
IN_DOUBT = {errors.BrokenReplyError, errors.CallTimeoutError}


async def came_of(lane, url, deadline=20.0, prompt=PROMPT, model="openai/m"):
    model = Model(model=model, api_base=url, lane=lane)
    call = Call(CallKey(0, 0, 0, 0), "ranker", model, (Message("user", prompt),), 0, 0.7, 100, None)
    router = Router(deadline)
    try:
        return await router.answer(call, "job/1")
    except errors.GatewayError as error:
        return error
    finally:
        await router.close()


def heard_and_answered(lane, response, **more):
    heard, served = [], asyncio.Event()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        heard.append((head, json.loads(await reader.readexactly(size))))
        try:
            if response is None:
                await reader.read()
            else:
                writer.write(response)
        finally:
            writer.close()
            served.set()

    async def run():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            came = await came_of(lane, f"http://127.0.0.1:{port}/v1", **more)
            await served.wait()
            return came

    return heard, asyncio.run(run())


lanes = pytest.mark.parametrize("lane", ["direct", "litellm"])


@lanes
@pytest.mark.parametrize("behaviour", REPLIES)
def test_what_is_served_is_one_request_and_one_reply(lane, behaviour):
    response, reply = REPLIES[behaviour]
    heard, came = heard_and_answered(lane, response)
    assert came == reply
    assert len(heard) == 1


@lanes
@pytest.mark.parametrize("behaviour", FAILURES)
def test_what_fails_is_one_request_one_class_and_one_bill(lane, behaviour):
    response, kind = FAILURES[behaviour]
    heard, came = heard_and_answered(lane, response)
    assert type(came) is kind
    assert isinstance(came, errors.GatewayError)
    assert came.billing is (Billing.IN_DOUBT if kind in IN_DOUBT else Billing.NOT_BILLED)
    assert len(heard) == 1


@lanes
def test_silence_ends_at_the_deadline_in_doubt(lane):
    heard, came = heard_and_answered(lane, None, deadline=3.0)
    assert type(came) is errors.CallTimeoutError
    assert len(heard) == 1


@lanes
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "https://nosuch.invalid/v1"])
def test_what_cannot_be_reached_was_not_sent(lane, url):
    came = asyncio.run(came_of(lane, url))
    assert type(came) is errors.UnreachableError


@lanes
def test_a_wish_for_patience_is_kept(lane):
    assert heard_and_answered(lane, refused(429, Retry_After="7"))[1].retry_after == 7.0


@lanes
def test_a_wish_for_patience_is_heard_in_the_words_of_a_refusal(lane):
    words = "Rate limit reached on tokens per day (TPD). Please try again in 7.66s."

    came = heard_and_answered(lane, refused(429, message=words))[1]

    assert came.retry_after == 7.66
    assert came.lasting == "its limit of a day is used up, and it does not say until when"


@lanes
def test_both_lanes_ask_alike(lane, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    ((head, body),) = heard_and_answered(lane, http(200, FOUR))[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"authorization: bearer for-this-host", b"x-client-request-id: job/1"} <= lines
    assert b"canary" not in head
    messages = [{"role": "user", "content": PROMPT}]
    assert body == {"model": "m", "messages": messages, "temperature": 0.7, "max_tokens": 100}


@lanes
def test_no_error_tells_the_prompt_or_a_key(lane, monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    for words in (f"Cannot parse {PROMPT!r}", "for-this-host is no key", "long\n" * 200):
        came = heard_and_answered(lane, refused(400, message=words))[1]
        assert type(came) is errors.BadCallError
        assert 0 < len(came.why) <= 200
        assert "bridges" not in came.why
        assert "for-this-host" not in came.why
        assert "\n" not in came.why
