"""A large dataset is handed in: rows a second, memory of the command, size of the broker.

    python -m benchmarks.submit --rows 100000 --database postgresql+psycopg://... --broker redis://...

Without ``--database`` it is a SQLite file, without ``--broker`` nothing is sent. Broker and database
have to be nobody else's. The command itself is timed, from its start to its end; on a busy machine look at its CPU.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis

ARCHITECTURE = "layers:\n  - {type: generator, model: scripted/plausible, samples: 5}\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--database", help="URL; default: a SQLite file of its own")
    options.add_argument("--broker", help="URL of a Redis; default: none")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), given.rows, given.database, given.broker)))


def measured(folder: Path, rows: int, database: str | None, broker: str | None) -> dict[str, float]:
    dataset = folder / "rows.jsonl"
    with dataset.open("w", encoding="utf-8") as file:
        for n in range(rows):
            row = {"id": f"row-{n}", "prompt": f"What is {n} plus {n}? " + "Say why. " * 20, "n": n}
            file.write(json.dumps(row) + "\n")
    (folder / "one.yaml").write_text("name: one\n" + ARCHITECTURE, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ARCHON_BATCH_")}
    for name, url in (("DATABASE", database), ("BROKER", broker)):
        if url:
            environment[f"ARCHON_BATCH_{name}_URL"] = url
    command = [
        sys.executable, "-m", "archon_batch", "submit", "rows.jsonl", "--arch", "one.yaml",
        "--name", f"rows-{time.time()}", "--detach",
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process.pid))
        time.sleep(0.05)
    seconds = time.monotonic() - began
    assert process.returncode == 0
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = spent.ru_utime + spent.ru_stime
    used = Redis.from_url(broker).info("memory")["used_memory_peak"] if broker else 0
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "rows_a_second": round(rows / seconds),
        "cpu_seconds": round(cpu, 1),
        "rows_a_cpu_second": round(rows / cpu),
        "producer_mb": round(most / 1024),
        "broker_mb": round(used / 2**20, 1),
    }


def _resident(pid: int) -> int:
    """The most memory that the process has had in RAM, in kB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
