"""CPU of a call beside bare aiohttp and litellm: ``python -m benchmarks.overhead``.

All place the same calls on the same stand-in provider, each in processes of its own, in turn.
A start costs seconds of imports, so each is run with few rows and with many, and the difference
is what a call costs. The ratio is the figure: a machine's speed drifts, and drifts for both.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
CALLS_A_ROW = 8
IN_FLIGHT = 64
Ask = Callable[[str], Awaitable[None]]
Client = Callable[[str], AbstractAsyncContextManager[Ask]]

ARCHITECTURE = """\
name: overhead
models:
  one: {{model: openai/stand-in, api_base: {url}, lane: {lane}, price: {{input: 0.15, output: 0.60}}}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 5}}
  - {{type: critic}}
  - {{type: ranker, top_k: 3}}
  - {{type: fuser}}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--few", type=int, default=25, help="rows of the short run")
    options.add_argument("--many", type=int, default=225, help="rows of the long run")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--bare", nargs=3, metavar=("CLIENT", "URL", "CALLS"), help=argparse.SUPPRESS
    )
    given = options.parse_args()
    if given.bare:
        asyncio.run(bare(CLIENTS[given.bare[0]], given.bare[1], int(given.bare[2])))
        return
    provider = subprocess.Popen(
        [sys.executable, "tests/provider.py", "--latency", "0.05"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert provider.stdout is not None
    url = provider.stdout.readline().strip()
    try:
        rounds = [one_round(url, given.few, given.many) for _ in range(given.rounds)]
    finally:
        provider.terminate()
        provider.wait()
    figures = {
        "calls": (given.many - given.few) * CALLS_A_ROW,
        **{f"{name}_ms": round(median(r[name] for r in rounds), 3) for name in rounds[0]},
        "lane_to_aiohttp": round(median(r["lane"] / r["aiohttp"] for r in rounds), 2),
        "direct_to_aiohttp": round(median(r["direct"] / r["aiohttp"] for r in rounds), 2),
        "litellm_lane_to_litellm": round(median(r["by_litellm"] / r["litellm"] for r in rounds), 2),
    }
    print(json.dumps(figures))


def one_round(url: str, few: int, many: int) -> dict[str, float]:
    """Milliseconds of CPU a call: of the whole program by either lane, and of bare clients."""

    def a_call(work: Callable[[int], None]) -> float:
        seconds = cpu(lambda: work(many)) - cpu(lambda: work(few))
        return seconds / ((many - few) * CALLS_A_ROW) * 1000

    def client(name: str) -> float:
        script = [sys.executable, "-m", "benchmarks.overhead", "--bare", name, url]
        # A bare client's few milliseconds would drown in the seconds of two starts.
        more = 1 if name == "litellm" else 10
        return a_call(lambda rows: run([*script, str(rows * CALLS_A_ROW * more)], ROOT)) / more

    return {
        "direct": a_call(lambda rows: submitted(url, rows, "direct")),
        "by_litellm": a_call(lambda rows: submitted(url, rows, "litellm")),
        **{name: client(name) for name in CLIENTS},
    }


def cpu(work: Callable[[], None]) -> float:
    """Seconds of CPU, user and system, of the processes that ``work`` runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def submitted(url: str, rows: int, lane: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = (json.dumps({"prompt": f"What is {n} plus {n}?"}) for n in range(rows))
        Path(folder, "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        Path(folder, "overhead.yaml").write_text(
            ARCHITECTURE.format(url=url, lane=lane), encoding="utf-8"
        )
        command = [sys.executable, "-m", "archon_batch", "submit", "rows.jsonl"]
        run([*command, "--arch", "overhead.yaml"], Path(folder))


def run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "ARCHON_BATCH_MAX_IN_FLIGHT": str(IN_FLIGHT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


async def bare(client: Client, url: str, calls: int) -> None:
    """The same requests from a loop, with nothing around the client."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    async with client(url) as ask:

        async def one(number: int) -> None:
            async with slots:
                await ask(f"What is {number} plus {number}?")

        await asyncio.gather(*(one(number) for number in range(calls)))


@asynccontextmanager
async def by_aiohttp(url: str) -> AsyncIterator[Ask]:
    import aiohttp  # noqa: PLC0415

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(prompt: str) -> None:
            body = {"model": "stand-in", "messages": messages(prompt), **PARAMETERS}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                assert (await response.json())["choices"]

        yield ask


@asynccontextmanager
async def by_lane(url: str) -> AsyncIterator[Ask]:
    from archon_batch.archon import Call, CallKey, Message, Model  # noqa: PLC0415
    from archon_batch.gateway.direct import DirectGateway  # noqa: PLC0415

    gateway, model = DirectGateway(60.0), Model(model="openai/stand-in", api_base=url)

    async def ask(prompt: str) -> None:
        said = tuple(Message(m["role"], m["content"]) for m in messages(prompt))  # type: ignore[arg-type]
        key = CallKey(0, 0, 0, 0)
        await gateway.answer(Call(key, "generator", model, said, 0, 0.7, 512, None), "job/1")

    yield ask
    await gateway.close()


@asynccontextmanager
async def by_litellm(url: str) -> AsyncIterator[Ask]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm  # noqa: PLC0415

    async def ask(prompt: str) -> None:
        await litellm.acompletion(
            model="openai/stand-in", api_base=url, api_key="none", messages=messages(prompt),
            num_retries=0, max_retries=0, timeout=60, **PARAMETERS,
        )  # fmt: skip

    yield ask


def messages(prompt: str) -> list[dict[str, str]]:
    system = {"role": "system", "content": "You are a helpful assistant."}
    return [system, {"role": "user", "content": prompt}]


PARAMETERS: dict[str, Any] = {"temperature": 0.7, "max_tokens": 512}
CLIENTS: dict[str, Client] = {"aiohttp": by_aiohttp, "lane": by_lane, "litellm": by_litellm}


if __name__ == "__main__":
    main()
