"""What a call costs as a job grows: ``python -m benchmarks.growth``.

Rows of three calls in a thousand, ten thousand and a hundred thousand: CPU of a call and memory
are to stay as they are.
"""

from archon_batch.jobs.submit import SHARD
from benchmarks.measure import PROGRAM, desk, options, run, tell
from benchmarks.stand_in import load, stand_in

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
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    given = parser.parse_args()
    rows = []
    with stand_in(given.latency) as url:
        # A start costs the same whatever the job; what it costs is taken off.
        start = measured(url, 1)
        for count in given.rows:
            cpu, peak = measured(url, count)
            calls = count * CALLS_A_ROW
            row = {"rows": count, "calls": calls, "cpu_ms": (cpu - start[0]) / calls * 1000}
            rows.append({**row, "peak_mb": peak})
    tell(rows, as_json=given.json, start_cpu=start[0])


def measured(url: str, rows: int) -> tuple[float, float]:
    load(url, reset=True)
    with desk(ARCHITECTURE, rows, url=url) as folder:
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml", "--processes", "1"]
        # As large jobs have it: small ones are cut finer, and their calls cost more.
        command += ["--shard", str(SHARD)]
        used = run(command, folder)
    if load(url)["served"] < rows * CALLS_A_ROW:
        raise RuntimeError("calls are missing")
    return used.cpu, used.peak_mb


if __name__ == "__main__":
    main()
