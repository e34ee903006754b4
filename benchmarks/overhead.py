"""CPU of a call beside bare litellm: ``python -m benchmarks.overhead``.

Both place the same calls on the same stand-in provider, each in processes of its own, in turn.
A start costs seconds of imports, so each is run with few rows and with many, and the difference
is what a call costs. The ratio is the figure: a machine's speed drifts, and drifts for both.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
CALLS_A_ROW = 8
IN_FLIGHT = 64

ARCHITECTURE = """\
name: overhead
models:
  one: {{model: openai/stand-in, api_base: {url}, price: {{input: 0.15, output: 0.60}}}}
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
    options.add_argument("--bare", nargs=2, metavar=("URL", "CALLS"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.bare:
        asyncio.run(bare(given.bare[0], int(given.bare[1])))
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
    ours, theirs = zip(*rounds, strict=True)
    figures = {
        "calls": (given.many - given.few) * CALLS_A_ROW,
        "archon_batch_ms": round(statistics.median(ours), 3),
        "litellm_ms": round(statistics.median(theirs), 3),
        "ratios": [round(a / b, 2) for a, b in rounds],
        "ratio": round(statistics.median(a / b for a, b in rounds), 2),
    }
    print(json.dumps(figures))


def one_round(url: str, few: int, many: int) -> tuple[float, float]:
    """Milliseconds of CPU a call, ours and bare litellm's."""
    calls = (many - few) * CALLS_A_ROW
    ours = cpu(lambda: submitted(url, many)) - cpu(lambda: submitted(url, few))
    script = [sys.executable, "-m", "benchmarks.overhead", "--bare", url]
    theirs = cpu(lambda: run([*script, str(many * CALLS_A_ROW)], ROOT)) - cpu(
        lambda: run([*script, str(few * CALLS_A_ROW)], ROOT)
    )
    return ours / calls * 1000, theirs / calls * 1000


def cpu(work: Callable[[], None]) -> float:
    """Seconds of CPU, user and system, of the processes that ``work`` runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def submitted(url: str, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = (json.dumps({"prompt": f"What is {n} plus {n}?"}) for n in range(rows))
        Path(folder, "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
        Path(folder, "overhead.yaml").write_text(ARCHITECTURE.format(url=url), encoding="utf-8")
        command = [sys.executable, "-m", "archon_batch", "submit", "rows.jsonl"]
        run([*command, "--arch", "overhead.yaml"], Path(folder))


def run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "ARCHON_BATCH_MAX_IN_FLIGHT": str(IN_FLIGHT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


async def bare(url: str, calls: int) -> None:
    """The same requests from a loop of ``litellm.acompletion``, with nothing around it."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm  # noqa: PLC0415

    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        async with slots:
            await litellm.acompletion(
                model="openai/stand-in", api_base=url, api_key="none",
                messages=[
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": f"What is {number} plus {number}?"},
                ],
                temperature=0.7, max_tokens=512, num_retries=0, max_retries=0, timeout=60,
            )  # fmt: skip

    await asyncio.gather(*(one(number) for number in range(calls)))


if __name__ == "__main__":
    main()
