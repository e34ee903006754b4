"""Utilisation of a provider: ``python -m benchmarks.saturation``.

The provider serves a limited number of calls at a time, with lognormal latencies; each row makes eight
calls in four layers, one after the other. The output has the used share of the provider's capacity
from the first second until the last row started (as long as there is always something to send), the
share over the whole job, and the tail, in which rows wait for their slowest call.
"""

from benchmarks.measure import PROGRAM, argument_parser, job_folder, print_table, run
from benchmarks.overhead import ARCHITECTURE, CALLS_A_ROW
from benchmarks.stand_in import BIN, fetch_load, run_stand_in


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--slots", type=int, default=64, help="calls that the provider serves")
    parser.add_argument("--median", type=float, default=1.0, help="seconds of a call")
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--shard", type=int, help="rows that travel together")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    fields = {"transport": "direct", "model": "openai/stand-in"}
    with (
        run_stand_in(given.median, sigma=given.sigma, slots=given.slots) as url,
        job_folder(ARCHITECTURE, given.rows, url=url, **fields) as folder,
    ):
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml"]
        command += ["--processes", str(given.processes)]
        command += ["--shard-size", str(given.shard)] if given.shard else []
        used = run(command, folder, ARCHON_BATCH_MAX_IN_FLIGHT=str(given.slots))
        load = fetch_load(url)
    if load["served"] < given.rows * CALLS_A_ROW:
        raise RuntimeError(f"{load['served']} calls arrived")
    bins: list[float] = load["bins"]
    first = round(1.0 / BIN)
    full = given.slots * BIN
    # The last moment at which the whole capacity was in use.
    tail = max((n for n, busy in enumerate(bins) if busy > 0.98 * full), default=len(bins))
    last_start = int(load["last_first_layer"] / BIN)
    row = {
        "seconds": load["seconds"],
        "served_to_capacity": sum(bins) / given.slots,
        "used_until_last_row_begun": used_share(bins[first:last_start], full),
        "used_until_tail": used_share(bins[first:tail], full),
        "used_of_all": used_share(bins[first:], full),
        "tail_seconds": (len(bins) - tail) * BIN,
        "peak": load["peak"],
        "cpu_seconds": used.cpu,
    }
    print_table([row], as_json=given.json, dataset=given.rows, slots=given.slots, bins=bins)


def used_share(bins: list[float], full: float) -> float | None:
    return round(sum(bins) / (full * len(bins)), 3) if bins else None


if __name__ == "__main__":
    main()
