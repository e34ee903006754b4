"""Memory of a worker over many calls: ``python -m benchmarks.memory --calls 100000``.

One worker process drains both queues of a Redis of its own, which lives for as long as this does,
on SQLite or on ``--database``. What it holds at the start (imports, caches, its pool of threads) is
not the question: the figure is how much it grows by from a third of the calls to their end. On
SQLite its eight connections fill their caches meanwhile, of 2 MB each and some statements.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression
from typing import Any

from tests.provider import Provider

ROOT = Path(__file__).parents[1]
CALLS_A_ROW = 6
ARCHITECTURE = """\
name: memory
models:
  one: {{model: openai/stand-in, api_base: {url}, price: {{input: 0.15, output: 0.60}}}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 5}}
  - {{type: fuser}}
"""
#: Sleeps between looks, in seconds.
LOOK = 1.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=100_000)
    options.add_argument("--database", metavar="URL", help="an empty one; else SQLite's")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        looks = run(Path(folder), given.calls, given.database)
    figures = grown(looks)
    if given.json:
        print(json.dumps(figures | {"looks": looks}))
        return
    for calls, megabytes in looks[:: max(1, len(looks) // 20)]:
        print(f"{calls:>9,} calls  {megabytes:>7.1f} MB")
    print(", ".join(f"{name} {value}" for name, value in figures.items()))


def run(folder: Path, calls: int, database: str | None) -> list[tuple[int, float]]:
    """Calls that were made so far, and the worker's resident megabytes, look by look."""
    rows = -(-calls // CALLS_A_ROW)
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"What is {n} plus {n}?"}) + "\n" for n in range(rows))
    )
    looks: list[tuple[int, float]] = []
    with redis(folder) as broker, Provider(latency=0.05) as provider:
        (folder / "memory.yaml").write_text(ARCHITECTURE.format(url=provider.url))
        environment = {
            **os.environ,
            "ARCHON_BATCH_BROKER_URL": broker,
            "ARCHON_BATCH_DATABASE_URL": database or f"sqlite:///{folder}/memory.db",
            "ARCHON_BATCH_LOG": "warning",
            "PYTHONPATH": str(ROOT),
        }
        more: dict[str, Any] = {"cwd": folder, "env": environment}
        submit = [sys.executable, "-m", "archon_batch", "submit", "rows.jsonl"]
        subprocess.run([*submit, "--arch", "memory.yaml"], check=True, **more)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
             "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
             "--task-events", "--loglevel", "warning"],
            **more,
        )  # fmt: skip
        try:
            while provider.requests < rows * CALLS_A_ROW:
                assert worker.poll() is None, "the worker has died"
                looks.append((provider.requests, resident(worker.pid)))
                time.sleep(LOOK)
            looks.append((provider.requests, resident(worker.pid)))
            print(
                f"{cpu_seconds(worker.pid) / rows / CALLS_A_ROW * 1000:.2f} ms of CPU a call, with its start",
                file=sys.stderr,
            )
        finally:
            worker.terminate()
            worker.wait()
    return looks


def grown(looks: list[tuple[int, float]]) -> dict[str, float]:
    last = looks[-1][0]
    late = [(calls, megabytes) for calls, megabytes in looks if calls >= last / 3]
    slope, _ = linear_regression(*zip(*late, strict=True))
    return {
        "calls": last,
        "mb_at_a_third": round(late[0][1], 1),
        "mb_at_the_end": round(late[-1][1], 1),
        "mb_more_for_100000_calls": round(slope * 100_000, 1),
    }


def resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not answers(port):
            time.sleep(0.1)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
