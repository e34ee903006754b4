"""CPU per call compared with bare clients: ``python -m benchmarks.overhead``.

Every client makes the same number of calls to the same stand-in provider, in its own processes, in
turn. Starting costs seconds of imports, so each client runs with few calls and with many, and the
difference gives the cost of a call. Compare the ratios: the speed of a machine drifts, but for all
clients alike. ``--peer curator=/path/to/python`` adds a framework from its own environment.
"""

import sys
from functools import partial
from statistics import median

from archon_batch.jobs.submit import MAX_SHARD_ROWS
from benchmarks.measure import PROGRAM, ResourceUsage, argument_parser, job_folder, print_table, run
from benchmarks.stand_in import fetch_load, run_stand_in

CALLS_A_ROW = 8
ARCHITECTURE = """\
name: overhead
models:
  one:
    model: {model}
    api_base: {url}
    transport: {transport}
    price: {{input: 0.15, output: 0.60}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 5}}
  - {{type: critic}}
  - {{type: ranker, top_k: 3}}
  - {{type: fuser}}
"""
#: Slow clients make fewer calls.
_SLOW_CLIENTS = ("litellm", "our litellm transport", "openai (httpx)")
#: The transport, and processes; each has so many calls in flight as another client.
OURS = {
    "our direct transport": ("direct", 1),
    "in two processes": ("direct", 2),
    "our litellm transport": ("litellm", 1),
}
CLIENTS = ("aiohttp", "transport alone", "openai (httpx)", "litellm")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--calls", type=int, default=16_000, help="calls of the long run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--only", nargs="*", help="of the clients")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    given = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in given.peer)
    names = [n for n in (*OURS, *CLIENTS, *peers) if not given.only or n in given.only]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with run_stand_in(given.latency) as url:
        for _ in range(given.rounds):
            for name in names:
                calls = given.calls // (8 if name in (*_SLOW_CLIENTS, *peers) else 1)
                work = partial(run_client, name, url, given.in_flight, peers.get(name))
                runs[name].append(cost_per_call(work, url, calls))
    floors = runs.get("aiohttp", [])
    rows = []
    for name, figures in runs.items():
        row: dict[str, object] = {"client": name}
        row["cpu_ms"] = round(median(f["cpu_ms"] for f in figures), 3)
        row["calls_s"] = round(median(f["calls_s"] for f in figures))
        row["peak_mb"] = round(median(f["peak_mb"] for f in figures))
        row["by_aiohttp"] = median_ratio(figures, floors)
        row["by_litellm"] = median_ratio(figures, runs.get("litellm", []))
        rows.append(row)
    print_table(rows, as_json=given.json, in_flight=given.in_flight, latency=given.latency)


def median_ratio(some: list[dict[str, float]], others: list[dict[str, float]]) -> float | None:
    """The median over the rounds, since the speed of a core varies between rounds."""
    pairs = zip(some, others, strict=False)
    return round(median(a["cpu_ms"] / b["cpu_ms"] for a, b in pairs), 2) if others else None


def cost_per_call(work: "partial[ResourceUsage]", url: str, calls: int) -> dict[str, float]:
    few, many = work(calls // 8), work(calls)
    more = calls - calls // 8
    served = fetch_load(url, reset=True)
    if served["served"] < calls:
        raise RuntimeError(f"{served['served']} of {calls} calls arrived")
    return {
        "cpu_ms": (many.cpu - few.cpu) / more * 1000,
        # Both include the start.
        "calls_s": more / max(many.seconds - few.seconds, 1e-9),
        "peak_mb": many.peak_mb,
    }


def run_client(
    name: str, url: str, in_flight: int, python: str | None, calls: int
) -> ResourceUsage:
    """Make the calls with the client of that name."""
    if name not in OURS:
        command = [python or sys.executable, "-m", "benchmarks.clients", name, url]
        return run([*command, str(calls), str(in_flight)])
    transport, processes = OURS[name]
    fields = {"url": url, "transport": transport, "model": "openai/stand-in"}
    with job_folder(ARCHITECTURE, calls // CALLS_A_ROW, **fields) as folder:
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml"]
        # The shard size of large jobs, in both runs.
        command += ["--processes", str(processes), "--shard-size", str(MAX_SHARD_ROWS)]
        return run(command, folder, ARCHON_BATCH_MAX_IN_FLIGHT=str(in_flight * processes))


if __name__ == "__main__":
    main()
