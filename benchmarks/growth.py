"""Cost of a call as a job grows: ``python -m benchmarks.growth``.

Rows of three calls, in jobs of a thousand, ten thousand and a hundred thousand rows. CPU per call and
memory must stay constant.
"""

from archon_batch.jobs.submit import MAX_SHARD_ROWS
from benchmarks.measure import PROGRAM, argument_parser, job_folder, print_table, run
from benchmarks.stand_in import fetch_load, run_stand_in

ARCHITECTURE = """\
name: growth
models:
  one:
    model: openai/stand-in
    api_base: {url}
    price: {{input: 0.15, output: 0.60}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 2}}
  - {{type: fuser}}
"""
CALLS_A_ROW = 3


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    given = parser.parse_args()
    rows = []
    with run_stand_in(given.latency) as url:
        # Subtract the cost of the start, which is the same for any job.
        start = measure_job(url, 1)
        for count in given.rows:
            cpu, peak = measure_job(url, count)
            calls = count * CALLS_A_ROW
            row = {"rows": count, "calls": calls, "cpu_ms": (cpu - start[0]) / calls * 1000}
            rows.append({**row, "peak_mb": peak})
    print_table(rows, as_json=given.json, start_cpu=start[0])


def measure_job(url: str, rows: int) -> tuple[float, float]:
    fetch_load(url, reset=True)
    with job_folder(ARCHITECTURE, rows, url=url) as folder:
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml", "--processes", "1"]
        # The shard size of large jobs: smaller shards cost more per call.
        command += ["--shard-size", str(MAX_SHARD_ROWS)]
        used = run(command, folder)
    if fetch_load(url)["served"] < rows * CALLS_A_ROW:
        raise RuntimeError("calls are missing")
    return used.cpu, used.peak_mb


if __name__ == "__main__":
    main()
