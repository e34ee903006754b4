"""A fast provider that is never the bottleneck and counts its load.

``python -m benchmarks.stand_in --latency 0.2`` prints its URL on the first line. It speaks just enough
HTTP for clients with persistent connections, and returns canned replies. ``GET /load`` returns the
counts; ``GET /reset`` resets them. ``tests/provider.py`` is the thorough provider, with a journal and
faults.
"""

import argparse
import asyncio
import json
import math
import random
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(rb"<<<response \d+ of (\d+) \|")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
#: Seconds per bin of the histogram of open requests.
BIN = 0.1


class LoadStatistics:
    """Counts of requests, and the used capacity over time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.reset()

    def reset(self) -> None:
        self.requests = self.served = self.open = self.peak = 0
        self.began = self.last = self.last_first_layer = self._at = 0.0
        self.cpu = time.process_time()
        #: Seconds of served requests in each bin since the first request.
        self.bins: list[float] = []

    def count_change(self, change: int, *, first_layer: bool = False) -> None:
        now = time.monotonic()
        if not self.began:
            self.began = self._at = now
        self._fill(now)
        self.open += change
        self.peak = max(self.peak, self.open)
        if change > 0:
            self.requests += 1
            if first_layer:
                self.last_first_layer = now - self.began
        else:
            self.served += 1
            self.last = now - self.began

    def _fill(self, now: float) -> None:
        """Add the open requests since the last change to the bins."""
        at = self._at
        while at < now:
            place = int((at - self.began) / BIN)
            end = min(now, self.began + (place + 1) * BIN)
            if end <= at:
                end = now
            while len(self.bins) <= place:
                self.bins.append(0.0)
            self.bins[place] += min(self.open, self.slots) * (end - at)
            at = end
        self._at = now

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "served": self.served,
            "open": self.open,
            "peak": self.peak,
            "seconds": self.last,
            "last_first_layer": self.last_first_layer,
            "cpu": time.process_time() - self.cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "bins": self.bins,
        }


@cache
def canned_reply(kind: str, responses: int) -> bytes:
    """A reply that the requesting component can parse, as a complete HTTP response."""
    order = ", ".join(f"[{n}]" for n in range(1, responses + 1)).replace(",", " >")
    text = {
        "ranker": f"Answer: {order}",
        "critic": "\n\n".join(
            f"[{n}]\nStrengths: it says what was asked.\nWeaknesses: it is short."
            for n in range(1, responses + 1)
        ),
        "verdict": "It follows.\n[Correct]",
    }.get(kind, "The sum is what both of them are together, and no more than that. " * 3)
    usage = {"prompt_tokens": 40, "completion_tokens": 45, "total_tokens": 85}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    body = json.dumps({
        "id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000,
        "model": "stand-in", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage,
    }).encode()  # fmt: skip
    return http_response(body)


def http_response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def classify_request(body: bytes) -> tuple[str, int]:
    responses = max(map(int, _FENCE.findall(body)), default=1)
    if b"Answer: [" in body:
        return "ranker", responses
    if b"Weaknesses: ..." in body:
        return "critic", responses
    if b"[Incorrect]" in body:
        return "verdict", responses
    return ("fuser" if responses > 1 else "generator"), responses


class StandInProvider:
    def __init__(self, latency: float, sigma: float, slots: int) -> None:
        self.load = LoadStatistics(slots)
        self._latency, self._sigma = latency, sigma
        self._waiting: deque[tuple[Connection, bytes]] = deque()
        self._busy = 0
        self._loop = asyncio.get_running_loop()
        # Not a secret; every run must be the same.
        self._rng = random.Random(0)  # noqa: S311

    def handle_request(self, connection: "Connection", head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            counts = json.dumps(self.load.to_json()).encode()
            if head.startswith(b"GET /reset"):
                self.load.reset()
            connection.send(http_response(counts))
            return
        kind = classify_request(body)
        self.load.count_change(1, first_layer=kind[0] == "generator")
        self._waiting.append((connection, canned_reply(*kind)))
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and self._busy < self.load.slots:
            self._busy += 1
            seconds = self._latency
            if self._sigma:
                seconds *= math.exp(self._sigma * self._rng.gauss(0, 1))
            self._loop.call_later(seconds, self._finish_request, *self._waiting.popleft())

    def _finish_request(self, connection: "Connection", response: bytes) -> None:
        self._busy -= 1
        self.load.count_change(-1)
        connection.send(response)
        self._serve_waiting()


class RequestHandler(Protocol):
    """Handles the requests of a connection."""

    def handle_request(self, connection: "Connection", head: bytes, body: bytes) -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, server: RequestHandler) -> None:
        self._server = server
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._data, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._data) < whole:
                return
            head, body = self._data[:end], self._data[end + 4 : whole]
            self._data = self._data[whole:]
            self._server.handle_request(self, head, body)

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def serve(provider: Callable[[], RequestHandler]) -> None:
    """Print the provider's URL and serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    server = provider()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def run_stand_in(
    latency: float, *, sigma: float = 0.0, slots: int = 100_000
) -> AbstractContextManager[str]:
    """Run the stand-in in its own process; yields its URL."""
    flags = (f"--latency={latency}", f"--sigma={sigma}", f"--slots={slots}")
    return run_module("benchmarks.stand_in", *flags)


@contextmanager
def run_module(module: str, *flags: str) -> Iterator[str]:
    """Run the module as a process; yields the URL that it prints first."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *flags], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def fetch_load(url: str, *, reset: bool = False) -> dict[str, Any]:
    """The counts of the stand-in at that URL."""
    path = "/reset" if reset else "/load"
    with urllib.request.urlopen(url.removesuffix("/v1") + path, timeout=30) as response:  # noqa: S310
        counts: dict[str, Any] = json.load(response)
        return counts


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--latency", type=float, default=0.05, help="seconds; the median")
    options.add_argument("--sigma", type=float, default=0.0, help="of a lognormal latency")
    options.add_argument("--slots", type=int, default=100_000, help="served at once")
    given = options.parse_args()
    asyncio.run(serve(lambda: StandInProvider(given.latency, given.sigma, given.slots)))


if __name__ == "__main__":
    main()
