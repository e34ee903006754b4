"""Memory of a worker over many calls: ``python -m benchmarks.memory --calls 100000``.

One worker process consumes both queues, with its own Redis and Postgres (or SQLite file). The memory
at the start (imports, caches, thread pool) does not matter: the figures are the resident memory in
the second tenth of the calls and in the last. With SQLite the eight connections fill their caches
meanwhile: 2 MB each plus statements.
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
#: Seconds between samples.
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
        samples, cpu = run(Path(folder), given.calls, url, broker.url)
        most = broker.client.info("memory")["used_memory_peak"] / 2**20
    print_table(
        [{"calls": calls, "worker_mb": megabytes} for calls, megabytes in thin_out(samples)],
        as_json=given.json,
        **memory_growth(samples),
        broker_peak_mb=most,
        cpu_ms_a_call=cpu / samples[-1][0] * 1000,
    )


def run(
    folder: Path, calls: int, database: str, broker: str
) -> tuple[list[tuple[int, float]], float]:
    """Samples of calls so far and resident megabytes of the worker, and its CPU seconds."""
    rows = -(-calls // CALLS_A_ROW)
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"What is {n} plus {n}?"}) + "\n" for n in range(rows))
    )
    samples: list[tuple[int, float]] = []
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
                assert worker.poll() is None, "the worker died"
                samples.append((provider.request_count, resident_mb(worker.pid)))
                time.sleep(SAMPLE_SECONDS)
            samples.append((provider.request_count, resident_mb(worker.pid)))
            return samples, cpu_seconds(worker.pid)
        finally:
            worker.terminate()
            worker.wait()


def memory_growth(samples: list[tuple[int, float]]) -> dict[str, float]:
    calls = samples[-1][0]

    def tenth(n: int) -> float:
        within = [
            mb for calls_so_far, mb in samples if (n - 1) * calls <= 10 * calls_so_far <= n * calls
        ]
        # A short run may have no sample there.
        return mean(
            within or [next(mb for calls_so_far, mb in samples if 10 * calls_so_far > n * calls)]
        )

    second, last = tenth(2), tenth(10)
    return {"mb_second_tenth": second, "mb_last_tenth": last, "mb_more": last - second}


def thin_out(samples: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """About twenty of the samples."""
    return [*samples[:: max(1, len(samples) // 20)], samples[-1]]


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
