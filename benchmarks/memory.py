"""Memory of a worker over many calls: ``python -m benchmarks.memory --calls 100000``.

One worker process drains both queues, with a Redis and a Postgres (or a SQLite file) of the
benchmark's own. What it holds at the start (imports, caches, its pool of threads) is not the
question: the figures are its resident memory in the second tenth of the calls and in the last. On
SQLite its eight connections fill their caches meanwhile, of 2 MB each and some statements.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import argument_parser, print_table
from tests.acceptance.servers import PostgresServer, RedisServer, Served, serving
from tests.provider import ProviderServer

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
SAMPLE_SECONDS = 1.0


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--sqlite", action="store_true", help="instead of Postgres")
    given = parser.parse_args()
    broker, database = RedisServer(), None if given.sqlite else PostgresServer()
    servers: list[Served] = [broker, *([database] if database else [])]
    with serving(*servers), tempfile.TemporaryDirectory() as folder:
        url = database.url if database else f"sqlite:///{folder}/memory.db"
        looks, cpu = run(Path(folder), given.calls, url, broker.url)
        most = broker.client.info("memory")["used_memory_peak"] / 2**20
    print_table(
        [{"calls": calls, "worker_mb": megabytes} for calls, megabytes in thin_out(looks)],
        as_json=given.json,
        **memory_growth(looks),
        broker_peak_mb=most,
        cpu_ms_a_call=cpu / looks[-1][0] * 1000,
    )


def run(
    folder: Path, calls: int, database: str, broker: str
) -> tuple[list[tuple[int, float]], float]:
    """Calls so far and the worker's resident megabytes, look by look; its CPU seconds."""
    rows = -(-calls // CALLS_A_ROW)
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"What is {n} plus {n}?"}) + "\n" for n in range(rows))
    )
    looks: list[tuple[int, float]] = []
    with ProviderServer(latency=0.05) as provider:
        (folder / "memory.yaml").write_text(ARCHITECTURE.format(url=provider.url))
        environment = {
            **os.environ,
            "ARCHON_BATCH_BROKER_URL": broker,
            "ARCHON_BATCH_DATABASE_URL": database,
            "ARCHON_BATCH_LOG": "warning",
            "PYTHONPATH": str(ROOT),
        }
        more: dict[str, Any] = {"cwd": folder, "env": environment}
        submit = [sys.executable, "-m", "archon_batch", "submit", "rows.jsonl"]
        subprocess.run(
            [*submit, "--arch", "memory.yaml"], check=True, stdout=subprocess.DEVNULL, **more
        )
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
             "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
             "--task-events", "--loglevel", "warning"],
            stdout=subprocess.DEVNULL, **more,
        )  # fmt: skip
        try:
            while provider.request_count < rows * CALLS_A_ROW:
                assert worker.poll() is None, "the worker has died"
                looks.append((provider.request_count, resident_mb(worker.pid)))
                time.sleep(SAMPLE_SECONDS)
            looks.append((provider.request_count, resident_mb(worker.pid)))
            return looks, cpu_seconds(worker.pid)
        finally:
            worker.terminate()
            worker.wait()


def memory_growth(samples: list[tuple[int, float]]) -> dict[str, float]:
    calls = samples[-1][0]

    def tenth(n: int) -> float:
        within = [mb for at, mb in samples if (n - 1) * calls <= 10 * at <= n * calls]
        # A short run may have no look there.
        return mean(within or [next(mb for at, mb in samples if 10 * at > n * calls)])

    second, last = tenth(2), tenth(10)
    return {"mb_second_tenth": second, "mb_last_tenth": last, "mb_more": last - second}


def thin_out(samples: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Some twenty of them."""
    return [*samples[:: max(1, len(samples) // 20)], samples[-1]]


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
