"""A fake provider: an OpenAI-compatible server on loopback that records what it bills.

    with Provider(faults=lambda n: "500" if n == 1 else None) as provider:
        ...                              # provider.url, .request_count, .bill, .entries

runs it in a thread; ``python tests/provider.py --latency 0.05 --journal FILE`` runs it as a command
that prints the URL first. Its reply depends on the request alone, so equal requests get equal
replies in any order. It records each request before the response: even if the client dies then, the
journal holds what a real provider would bill, which is the oracle for every ledger.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web

#: Faults that are refused and not billed: status, code, message. A number as the name means that
#: status. Faults that are served, and so billed, are the cases of ``_served``.
REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "redirect": (307, "redirect", "Elsewhere."),
    "401": (401, "invalid_api_key", "Incorrect API key provided."),
    "404": (404, "model_not_found", "The model does not exist."),
    "insufficient_quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "overloaded": (503, "overloaded", "The engine is currently overloaded."),
    "too_long": (400, "context_length_exceeded", "This model's maximum context length is 9."),
    "refused": (400, "content_policy_violation", "The prompt goes against our policy."),
}
#: The wall-clock time at zero of the monotonic clock.
_BEGAN = time.time() - time.monotonic()

Body = dict[str, Any]
ReceivedRequest = tuple[Mapping[str, str], Body]

_FENCE = re.compile(r"<<<response \d+ of (\d+) \|")
_TESTS = re.compile(r"come (\d+) unit tests")
_WORDS = ("all", "but", "for", "from", "it", "more", "not", "of", "one", "so", "then", "there")


class JournalEntry(NamedTuple):
    """One line of the journal: a request that was served or refused."""

    time: float
    #: The intended status, also if the connection ended before it was sent.
    status: int
    client_request_id: str | None
    model: str
    prompt_tokens: int
    completion_tokens: int
    #: Rounded up to whole nano-dollars, request by request.
    nanousd: int
    fault: str | None


@dataclass(kw_only=True, eq=False)
class ProviderServer:
    """The server; it runs between ``__enter__`` and ``__exit__`` in its own thread."""

    #: The fault of request n, counted from 1; or rates, such as ``{"429": 0.1}``, which hit the same
    #: requests under the same seed.
    faults: Callable[[int], str | None] | Mapping[str, float] = field(default_factory=dict)
    #: Seconds before request n is answered.
    latency: Callable[[int], float] | float = 0.0
    #: Seconds that the fault ``slow`` takes.
    slow: float = 30.0
    #: The Retry-After header of each 429.
    retry_after: str | None = None
    #: USD per million tokens of the prompt and of the completion.
    prices: Sequence[str] = ("0.15", "0.60")
    journal: Path | None = None
    port: int = 0
    seed: int = 0

    url: str = field(default="", init=False)
    #: Number of requests, and the maximum of concurrent ones.
    request_count: int = field(default=0, init=False)
    max_concurrent: int = field(default=0, init=False)
    entries: list[JournalEntry] = field(default_factory=list, init=False)
    #: The headers and the body of the latest requests.
    recent_requests: deque[ReceivedRequest] = field(
        default_factory=lambda: deque(maxlen=1000), init=False
    )
    _open: int = field(default=0, init=False)

    @property
    def bill(self) -> int:
        """The total of all billed requests, in nano-dollars."""
        return sum(entry.nanousd for entry in self.entries)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=1024).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.request_count += 1
        number = self.request_count
        self._open += 1
        self.max_concurrent = max(self.max_concurrent, self._open)
        try:
            asked = await request.json()
            self.recent_requests.append((request.headers.copy(), asked))
            fault = self._fault(number)
            refusal = REFUSALS.get(fault) or (fault.isdigit() and (int(fault), fault, "No luck."))
            completion = _completion(asked, fault)
            self._record(request, completion, fault, refusal[0] if refusal else 200)
            latency = self.latency(number) if callable(self.latency) else self.latency
            await asyncio.sleep(self.slow if fault == "slow" else latency)
            if not refusal:
                return await _served(request, completion, fault)
            status, code, message = refusal
            kind = "invalid_request_error" if status == 400 else code
            error = {"message": message, "type": kind, "param": None, "code": code}
            headers = {"Location": str(request.url)} if status == 307 else {}
            if status == 429 and self.retry_after:
                headers["Retry-After"] = self.retry_after
            return web.json_response({"error": error}, status=status, headers=headers)
        finally:
            self._open -= 1

    def _fault(self, number: int) -> str:
        if callable(self.faults):
            return self.faults(number) or ""
        roll = _rng(self.seed, number).random()
        edges = zip(self.faults, accumulate(self.faults.values()), strict=True)
        return next((name for name, edge in edges if roll < edge), "")

    def _record(self, request: web.Request, completion: Body, fault: str, status: int) -> None:
        usage = completion["usage"] if status == 200 else {}
        prompt, said = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        usd = prompt * Decimal(self.prices[0]) + said * Decimal(self.prices[1])
        nanousd = int((usd * 1000).to_integral_value(ROUND_CEILING))
        name = request.headers.get("X-Client-Request-Id")
        model = completion["model"]
        entry = JournalEntry(clock(), status, name, model, prompt, said, nanousd, fault or None)
        self.entries.append(entry)
        if self.journal:
            with self.journal.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(entry._asdict()) + "\n")


def clock() -> float:
    """Seconds since 1970 by a monotonic clock, so that differences are exact."""
    return _BEGAN + time.monotonic()


def reply_text(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The reply text: a ranking, critiques, tests, verdicts, or some words."""
    prompt = "\n".join(message["content"] for message in messages)
    last = next((m["content"] for m in reversed(messages) if m["role"] == "user"), prompt)
    numbers = range(1, 1 + max(map(int, _FENCE.findall(last)), default=1))

    def words(count: int) -> str:
        return " ".join(rng.choices(_WORDS, k=count))

    # A ranker's prompt may contain critiques, so test for its own mark first.
    if "Answer: [" in prompt:
        return "Answer: " + " > ".join(f"[{n}]" for n in rng.sample(numbers, len(numbers)))
    if "Weaknesses:" in last:
        return "\n\n".join(
            f"[{n}]\nStrengths: {words(8)}.\nWeaknesses: {words(8)}." for n in numbers
        )
    if "[Incorrect]" in last:
        return f"{words(8)}\n[{rng.choice(['Correct', 'Incorrect'])}]"
    if "JSON list" in last:
        return json.dumps([f"The response has {words(3)}." for _ in range(3)])
    if tests := _TESTS.search(last):
        verdicts = [rng.choice(["Passed", "Passed", "Failed"]) for _ in range(int(tests[1]))]
        return "\n".join(f"Unit Test #{n}: [{v}]" for n, v in enumerate(verdicts, 1))
    return words(rng.randint(5, 60))


def _completion(asked: Body, fault: str) -> Body:
    messages, model = asked["messages"], asked["model"]
    rng = _rng(model, messages, asked.get("temperature"), asked.get("seed"))
    text, finish = reply_text(messages, rng), "stop"
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
    if fault in {"empty", "null", "content_filter"}:
        text, finish = "", fault if fault == "content_filter" else "stop"
    elif limit and len(text.split()) > limit:
        text, finish = " ".join(text.split()[:limit]), "length"
    prompt, said = sum(len(m["content"].split()) for m in messages), len(text.split())
    usage = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    name = f"chatcmpl-{rng.getrandbits(64):016x}"
    top = {"id": name, "object": "chat.completion", "created": 1_700_000_000, "model": model}
    return {**top, "choices": choices, "usage": usage}


async def _served(request: web.Request, completion: Body, fault: str) -> web.StreamResponse:
    match fault:
        case "" | "slow" | "empty" | "content_filter":
            pass
        case "null":
            completion["choices"][0]["message"]["content"] = None
        case "no_choices":
            completion["choices"] = []
        case "no_usage":
            del completion["usage"]
        case "negative_usage":
            completion["usage"] = dict.fromkeys(completion["usage"], -5)
        case "html":
            return web.Response(text="<html>All is well</html>", content_type="text/html")
        case "garbage":
            return web.Response(body=b'{"choices": [{"mess', content_type="application/json")
        case "cut" | "hangup" | "reset":
            return await _broken_off(request, json.dumps(completion).encode(), fault)
        case _:
            raise ValueError(fault)
    return web.json_response(completion)


async def _broken_off(request: web.Request, body: bytes, fault: str) -> web.StreamResponse:
    """End the connection: in the middle of the body, before it, or before it with a RST."""
    transport = request.transport
    assert transport
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    if fault == "cut":
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
    if fault == "reset":  # a linger time of zero turns the FIN into a RST
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
    return response


def _rng(*seed: object) -> random.Random:
    # Must be reproducible; it is no secret.
    return random.Random(json.dumps(seed))  # noqa: S311


def main() -> None:
    options = argparse.ArgumentParser(argument_default=argparse.SUPPRESS, description=__doc__)
    kinds: dict[str, Callable[[str], Any]] = {"port": int, "seed": int, "latency": float}
    kinds |= {"slow": float, "retry-after": str, "journal": Path, "faults": json.loads}
    for name, kind in kinds.items():
        options.add_argument(f"--{name}", type=kind)
    options.add_argument("--prices", nargs=2)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Block before the thread starts, which inherits the mask: only sigwait gets these signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with ProviderServer(**vars(options.parse_args())) as provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
