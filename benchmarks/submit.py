"""Submission of a large dataset: ``python -m benchmarks.submit --rows 100000``.

Rows per second, memory of the command and of the broker: on SQLite with Redis, and on Postgres with
Redis, on the benchmark's own servers. The time is that of the command, from start to end; on a busy
machine compare its CPU, which does not include the servers.
"""

import json
import tempfile
import time
from pathlib import Path

from benchmarks.measure import PROGRAM, argument_parser, print_table, run
from tests.acceptance.servers import PostgresServer, RedisServer, serving

ARCHITECTURE = "layers:\n  - {type: generator, model: scripted/plausible, samples: 5}\n"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    broker, database = RedisServer(), PostgresServer()
    with serving(broker, database), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        urls = f"sqlite:///{folder}/rows.db", database.url
        figures = [measure_submit(folder, given.rows, url, broker) for url in urls]
    print_table(figures, as_json=given.json)


def measure_submit(
    folder: Path, rows: int, database: str, broker: RedisServer
) -> dict[str, object]:
    dataset = folder / "rows.jsonl"
    with dataset.open("w", encoding="utf-8") as file:
        for n in range(rows):
            row = {"id": f"row-{n}", "prompt": f"What is {n} plus {n}? " + "Say why. " * 20, "n": n}
            file.write(json.dumps(row) + "\n")
    (folder / "one.yaml").write_text("name: one\n" + ARCHITECTURE, encoding="utf-8")
    command = [
        *PROGRAM, "submit", "rows.jsonl", "--arch", "one.yaml", "--name", f"rows-{time.time()}",
        "--detach",
    ]  # fmt: skip
    used = run(
        command, folder, ARCHON_BATCH_DATABASE_URL=database, ARCHON_BATCH_BROKER_URL=broker.url
    )
    return {
        "database": database.partition(":")[0],
        "rows": rows,
        "seconds": used.seconds,
        "rows_a_second": round(rows / used.seconds),
        "cpu_seconds": used.cpu,
        "rows_a_cpu_second": round(rows / used.cpu),
        "producer_mb": used.peak_mb,
        "broker_mb": broker.client.info("memory")["used_memory_peak"] / 2**20,
    }


if __name__ == "__main__":
    main()
