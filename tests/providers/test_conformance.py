"""Both transports give the same requests, replies, error classes and billing."""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import time
import tracemalloc
import zlib

import pytest

from archon_batch import errors
from archon_batch.archon import Call, CallKey, Message, Model, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.providers import ProviderRouter
from tests.provider import ProviderServer

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


def error_body(code, message="No luck."):
    return http(200, {"error": {"code": code, "message": message}})


CUT_CHUNK = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"choices"'
FOUR = completion({"content": "4"})
SAID = Reply("4", usage=Usage(9, 7), finish_reason="stop", model="m")
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "two, two"}]},
    {"type": "text", "text": "4"},
]
TOOL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
STREAM = "".join(
    f"data: {json.dumps({**CHUNK, **part})}\n\n"
    for part in (
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    )
).encode()
FILTERED = "refused: the provider's filter left no text (content_filter)"
CALLED = "tool_call: it called a tool, and none was offered"
LONG = "This model's maximum context length is 9 tokens."

#: Responses, and the reply for each.
REPLIES = {
    "plain": (http(200, FOUR), SAID),
    "compressed": (
        http(200, gzip.compress(json.dumps(FOUR).encode()), Content_Encoding="gzip"),
        SAID,
    ),
    "length": (
        http(200, completion({"content": "4"}, "length")),
        Reply("4", usage=Usage(9, 7), finish_reason="length", model="m"),
    ),
    "length in other words": (
        http(200, completion({"content": "4"}, "MAX_TOKENS")),
        Reply("4", usage=Usage(9, 7), finish_reason="length", model="m"),
    ),
    "filtered": (
        http(200, completion({"content": ""}, "content_filter")),
        Reply(None, FILTERED, usage=Usage(9, 7), finish_reason="content_filter", model="m"),
    ),
    "filtered in its midst": (
        http(200, completion({"content": "4"}, "content_filter")),
        Reply("4", usage=Usage(9, 7), finish_reason="content_filter", model="m"),
    ),
    "refusal": (
        http(200, completion({"content": None, "refusal": "I cannot."})),
        Reply(None, "refused: I cannot.", usage=Usage(9, 7), finish_reason="stop", model="m"),
    ),
    "tool": (
        http(200, completion({"content": None, "tool_calls": [TOOL]}, "tool_calls")),
        Reply(None, CALLED, usage=Usage(9, 7), finish_reason="tool_calls", model="m"),
    ),
    "parts": (http(200, completion({"content": PARTS})), SAID),
    "byte order mark": (http(200, b"\xef\xbb\xbf" + json.dumps(FOUR).encode()), SAID),
    "UTF-16": (http(200, json.dumps(FOUR).encode("utf-16")), SAID),
    "stream": (http(200, STREAM, "text/event-stream"), SAID),
    "error null": (http(200, {**FOUR, "error": None}), SAID),
    "thoughts beside the completion": (
        http(200, completion({"content": "4"}, usage={**USAGE, "total_tokens": 616})),
        Reply("4", usage=Usage(9, 607), finish_reason="stop", model="m"),
    ),
    "usage that cannot be": (
        http(200, completion({"content": "4"}, usage={**USAGE, "completion_tokens": 2**32 - 35})),
        Reply("4", usage=Usage(9, None), finish_reason="stop", model="m"),
    ),
    "cut in its thoughts": (
        http(200, completion({"content": "<think>two, two"}, "length")),
        Reply("", usage=Usage(9, 7), finish_reason="length", model="m"),
    ),
    "reasoning": (http(200, completion({"content": "4", "reasoning_content": "two, two"})), SAID),
    "thoughts": (http(200, completion({"content": "<think>two, two</think>4"})), SAID),
    "no choices": (
        http(200, {**FOUR, "choices": []}),
        Reply("", usage=Usage(9, 7), model="m"),
    ),
    "details": (
        http(200, completion({"content": "4"}, usage={**USAGE, **DETAILS})),
        Reply(
            "4",
            usage=Usage(9, 7, cached_tokens=4, reasoning_tokens=3),
            finish_reason="stop",
            model="m",
        ),
    ),
    "no usage": (
        http(200, {k: v for k, v in FOUR.items() if k != "usage"}),
        Reply("4", finish_reason="stop", model="m"),
    ),
}
#: Responses, and the error class for each.
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
    "502 under 200": (error_body(502), errors.ProviderDownError),
    "504 under 200": (error_body(504), errors.CallTimeoutError),
    "429 under 200": (error_body(429), errors.RateLimitError),
    "429 as text under 200": (error_body("429"), errors.RateLimitError),
    "429 as a word under 200": (error_body("rate_limit_exceeded"), errors.RateLimitError),
    "401 under 200": (error_body(401), errors.CredentialsError),
    "403 under 200": (error_body(403, "Your input was flagged by moderation"), errors.RefusedError),
    "wrong path under 200": (
        http(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        errors.UnknownModelError,
    ),
    "a sentence under 200": (http(200, {"error": "Try later."}), errors.ProviderDownError),
    "error beside no choices": (
        http(200, {**FOUR, "choices": [], "error": {"code": 429, "message": "No luck."}}),
        errors.RateLimitError,
    ),
    "error of a choice": (
        http(200, {**FOUR, "choices": [{"message": {"content": ""}, "error": {"code": 502}}]}),
        errors.ProviderFailedError,
    ),
    "error in a stream": (
        http(200, b'data: {"error": {"code": 429}}\n\n', "text/event-stream"),
        errors.RateLimitError,
    ),
    "stream cut": (http(200, STREAM[:200], "text/event-stream"), errors.BrokenReplyError),
    "aborted": (http(200, completion({"content": "4"}, "abort")), errors.BrokenReplyError),
    "ended in an error": (
        http(200, completion({"content": "4"}, "error")),
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
    "403 for the key": (refused(403, "permission_denied"), errors.CredentialsError),
    "403 for the prompt": (
        refused(403, message="Your input was flagged by moderation"),
        errors.RefusedError,
    ),
    "key refused with 400": (
        http(400, [{"error": {"code": 400, "message": "API key not valid."}}]),
        errors.CredentialsError,
    ),
    "402": (refused(402), errors.QuotaError),
    "quota": (refused(429, "insufficient_quota"), errors.QuotaError),
    "404": (refused(404, "model_not_found"), errors.UnknownModelError),
    "408": (refused(408), errors.CallTimeoutError),
    "409": (refused(409), errors.ProviderFailedError),
    "424": (refused(424), errors.ProviderFailedError),
    "425": (refused(425), errors.ProviderDownError),
    "429": (refused(429), errors.RateLimitError),
    "498": (refused(498), errors.ProviderDownError),
    "499": (refused(499), errors.ProviderFailedError),
    "500": (refused(500), errors.ProviderFailedError),
    "502 of a proxy": (http(502, b"<html>Bad</html>", "text/html"), errors.ProviderFailedError),
    "503": (refused(503), errors.ProviderFailedError),
    "503 unserved": (
        refused(503, message="The engine is currently overloaded."),
        errors.ProviderDownError,
    ),
    "521": (http(521, b"<html>", "text/html"), errors.ProviderDownError),
    "524": (http(524, b"<html>", "text/html"), errors.CallTimeoutError),
    "504": (refused(504), errors.CallTimeoutError),
    "529": (refused(529), errors.ProviderDownError),
}
IN_DOUBT = {errors.BrokenReplyError, errors.CallTimeoutError, errors.ProviderFailedError}


async def result_of(transport, url, deadline=20.0, prompt=PROMPT, model="openai/m"):
    router = ProviderRouter(deadline)
    try:
        return await result_by(router, transport, url, prompt, model)
    finally:
        await router.close()


async def result_by(router, transport, url, prompt=PROMPT, model="openai/m"):
    model = Model(model=model, api_base=url, transport=transport)
    call = Call(CallKey(0, 0, 0, 0), "ranker", model, (Message("user", prompt),), 0, 0.7, 100, None)
    try:
        return await router.complete(call, "job/1")
    except errors.ProviderError as error:
        return error


def requests_and_result(transport, response, **more):
    requests, served = [], asyncio.Event()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        requests.append((head, json.loads(await reader.readexactly(size))))
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
            result = await result_of(transport, f"http://127.0.0.1:{port}/v1", **more)
            await served.wait()
            return result

    return requests, asyncio.run(run())


transports = pytest.mark.parametrize("transport", ["direct", "litellm"])


@transports
@pytest.mark.parametrize("behaviour", REPLIES)
def test_a_served_response_is_one_request_and_one_reply(transport, behaviour):
    response, reply = REPLIES[behaviour]
    requests, result = requests_and_result(transport, response)
    assert result == reply
    assert len(requests) == 1


@transports
@pytest.mark.parametrize("behaviour", FAILURES)
def test_a_failure_is_one_request_with_one_error_class_and_billing(transport, behaviour):
    response, kind = FAILURES[behaviour]
    requests, result = requests_and_result(transport, response)
    assert type(result) is kind
    assert isinstance(result, errors.ProviderError)
    assert result.billing is (Billing.IN_DOUBT if kind in IN_DOUBT else Billing.NOT_BILLED)
    assert len(requests) == 1


@transports
def test_an_unexplained_403_fails_the_row_after_a_success_and_else_the_key(transport):
    async def run(*faults):
        router, left = ProviderRouter(20.0), list(faults)
        with ProviderServer(faults=lambda _: left.pop(0)) as provider:
            result = [await result_by(router, transport, provider.url) for _ in faults]
        await router.close()
        return [type(one) for one in result]

    down, key, row = errors.ProviderDownError, errors.CredentialsError, errors.RefusedError
    assert asyncio.run(run("", "403", "403")) == [Reply, row, row]
    assert asyncio.run(run("403", "", "403")) == [down, Reply, row]
    assert asyncio.run(run("403", "403", "403")) == [down, down, key]


@transports
def test_a_call_without_response_times_out_in_doubt(transport):
    requests, result = requests_and_result(transport, None, deadline=3.0)
    assert type(result) is errors.CallTimeoutError
    assert len(requests) == 1


@transports
def test_an_unreachable_host_means_not_sent(transport):
    result = asyncio.run(result_of(transport, "http://127.0.0.1:9/v1"))
    assert type(result) is errors.UnreachableError
    assert "127.0.0.1: Connection refused" in result.why


@transports
@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (socket.EAI_NONAME, "Name or service not known", errors.UnknownHostError),
        (socket.EAI_NODATA, "No address associated with hostname", errors.UnknownHostError),
        (socket.EAI_AGAIN, "Temporary failure in name resolution", errors.UnreachableError),
    ],
    ids=["no such name", "no address", "no name server"],
)
def test_an_unknown_host_stops_the_job_but_a_failed_name_server_does_not(
    transport, code, words, kind, monkeypatch
):
    def unknown(*_, **__):
        raise socket.gaierror(code, words)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = asyncio.run(result_of(transport, "https://llm.example/v1"))
    assert type(result) is kind
    assert result.stops_job is (kind is errors.UnknownHostError)
    assert result.billing is Billing.NOT_SENT
    assert result.why == f"connection: llm.example: {words}"


def _self_signed(folder):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    line = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
    ]
    line += ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(line, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context


@transports
@pytest.mark.parametrize("trusted", [False, None], ids=["self-signed", "no TLS"])
def test_an_untrusted_server_stops_the_job_before_sending(transport, trusted, tmp_path):
    requests = []

    async def served(reader, writer):
        requests.append(await reader.read(1))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def run():
        context = None if trusted is None else _self_signed(tmp_path)
        server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await result_of(transport, f"https://127.0.0.1:{port}/v1")

    result = asyncio.run(run())
    assert type(result) is errors.UntrustedHostError
    assert result.stops_job
    assert result.billing is Billing.NOT_SENT
    assert ("no TLS" if trusted is None else "certificate verify failed: self-signed") in result.why


MANY = 17 << 20
GZIP = {"Content_Encoding": "gzip"}
#: Functions that build a body, and its headers.
HEAVY = {
    "long": (lambda: b" " * MANY, {}),
    "a bomb": (lambda: gzip.compress(b" " * 4 * MANY, 1), GZIP),
    "a bomb without a header": (
        lambda: zlib.compress(b" " * 4 * MANY, 1, wbits=-15),
        {"Content_Encoding": "deflate"},
    ),
    "a bomb in a bomb": (
        lambda: gzip.compress(gzip.compress(b" " * 4 * MANY, 1)),
        {"Content_Encoding": "gzip, gzip"},
    ),
    "many parts": (lambda: gzip.compress(b" " * 65_536) * (MANY >> 16), GZIP),
    "many lists": (lambda: b"[" + b"[]," * 4_000_000 + b"[]]", {}),
    "deep": (lambda: b"[" * 1_000_000, {}),
    "many names": (lambda: b'{"":0' + b',"":0' * 2_000_000 + b"}", {}),
    "half a pack": (lambda: gzip.compress(b"{}" * 1000)[:-9], GZIP),
    "another encoding": (lambda: b"{}", {"Content_Encoding": "br"}),
}


@transports
@pytest.mark.parametrize("heavy", HEAVY.values(), ids=HEAVY)
def test_an_oversized_response_costs_neither_memory_nor_time(transport, heavy):
    make, headers = heavy
    served = http(200, make(), **headers)
    tracemalloc.start()
    begun = time.process_time()
    try:
        _, result = requests_and_result(transport, served)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert type(result) is errors.BrokenReplyError
    # The response once as sent and once as parsed, and no multiple of it.
    assert most < 120 << 20
    assert time.process_time() - begun < 8


@transports
@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_of_a_whole_context_window_is_accepted(transport, packed):
    text = 'print(f"{x[0]}, {y}")\n' * 40_000
    data = json.dumps(completion({"content": text})).encode()
    served = http(200, gzip.compress(data), Content_Encoding="gzip") if packed else http(200, data)

    assert requests_and_result(transport, served)[1].text == text


@transports
@pytest.mark.parametrize("status", [429, 500])
def test_only_the_start_of_a_long_error_is_kept(transport, status):
    _, result = requests_and_result(
        transport, http(status, b"No luck. " + b"x" * MANY, "text/plain")
    )

    assert type(result) is type(requests_and_result(transport, refused(status))[1])


@transports
def test_retry_after_is_passed_on(transport):
    assert requests_and_result(transport, refused(429, Retry_After="7"))[1].retry_after == 7.0


@transports
def test_a_wait_in_an_error_message_is_parsed(transport):
    words = "Rate limit reached on tokens per day (TPD). Please try again in 7.66s."

    result = requests_and_result(transport, refused(429, message=words))[1]

    assert result.retry_after == 7.66
    assert result.long_wait_reason == "its daily limit is used up, and it does not say until when"


@transports
def test_both_transports_send_the_same_request(transport, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    ((head, body),) = requests_and_result(transport, http(200, FOUR))[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"authorization: bearer for-this-host", b"x-client-request-id: job/1"} <= lines
    assert b"canary" not in head
    messages = [{"role": "user", "content": PROMPT}]
    asked = {"model": "m", "messages": messages, "temperature": 0.7, "max_tokens": 100}
    assert body == {**asked, "stream": False}


@transports
def test_no_error_contains_the_prompt_or_a_key(transport, monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_KEY_127_0_0_1", "for-this-host")
    for words in (f"Cannot parse {PROMPT!r}", "for-this-host is no key", "long\n" * 200):
        result = requests_and_result(transport, refused(400, message=words))[1]
        assert type(result) is errors.BadCallError
        assert 0 < len(result.why) <= 200
        assert "bridges" not in result.why
        assert "for-this-host" not in result.why
        assert "\n" not in result.why
