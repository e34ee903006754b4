"""A flame graph of the hot path: ``python -m benchmarks.flame docs/flame.svg``.

A job on the direct lane as in ``overhead``, sampled by py-spy, which has to be there (``pip install
py-spy``): which functions hold the interpreter, by thread.
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.measure import PROGRAM, desk, run
from benchmarks.overhead import ARCHITECTURE
from benchmarks.stand_in import stand_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--rows", type=int, default=4_096)
    given = parser.parse_args()
    spy = shutil.which("py-spy")
    if spy is None:
        parser.error("py-spy is not on the PATH; pip install py-spy")
    record = [spy, "record", "--gil", "--threads", "--function", "--rate", "200"]
    fields = {"lane": "direct", "model": "openai/stand-in"}
    with stand_in(0.05) as url, desk(ARCHITECTURE, given.rows, url=url, **fields) as folder:
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml", "--processes", "1"]
        run([*record, "--output", str(given.svg.absolute()), "--", *command], folder)


if __name__ == "__main__":
    main()
