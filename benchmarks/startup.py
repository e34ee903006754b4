"""Cost of starting: ``python -m benchmarks.startup``.

CPU of ``--help``, and of a job of one row and one call on a provider that answers at once, with the
time from start to answer.
"""

from statistics import median

from benchmarks.growth import ARCHITECTURE
from benchmarks.measure import PROGRAM, ResourceUsage, argument_parser, job_folder, print_table, run
from benchmarks.stand_in import run_stand_in

ONE = ARCHITECTURE.split("layers:", maxsplit=1)[0] + "layers: [{{type: generator}}]\n"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    helped, answered = [], []
    with run_stand_in(0.001) as url:
        for _ in range(given.rounds):
            helped.append(run([*PROGRAM, "--help"]))
            with job_folder(ONE, 1, url=url) as folder:
                command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml"]
                answered.append(run([*command, "-o", "answers.jsonl"], folder))
    rows = [summary_row("--help", helped), summary_row("a job of one row", answered)]
    print_table(rows, as_json=given.json)


def summary_row(what: str, runs: list[ResourceUsage]) -> dict[str, object]:
    return {
        "what": what,
        "seconds": round(median(one.seconds for one in runs), 3),
        "cpu_seconds": round(median(one.cpu for one in runs), 3),
        "peak_mb": round(median(one.peak_mb for one in runs)),
    }


if __name__ == "__main__":
    main()
