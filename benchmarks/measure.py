"""Measurement of a process (CPU, time, memory) and output of figures, for the other benchmarks."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "archon_batch"]


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Resources that a command and its child processes used."""

    #: Wall time and CPU time in seconds.
    seconds: float
    cpu: float
    #: Peak resident memory of the largest process.
    peak_mb: float


def run(command: Sequence[str], folder: Path = ROOT, **environment: str) -> ResourceUsage:
    """Run the command and wait for its end.

    Raises:
        RuntimeError: the command failed; contains the end of its output.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    given = {**os.environ, "PYTHONPATH": path, "ARCHON_BATCH_LOG": "warning", **environment}
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=given, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            tail = output.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)}: {process.returncode}\n{tail}")
    return ResourceUsage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def job_folder(architecture: str, rows: int, **fields: object) -> Iterator[Path]:
    """A folder with ``rows.jsonl`` and the formatted architecture as ``bench.yaml``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
            for n in range(rows):
                file.write(json.dumps({"prompt": f"What is {n} plus {n}?"}) + "\n")
        (folder / "bench.yaml").write_text(architecture.format(**fields), encoding="utf-8")
        yield folder


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def print_table(rows: Sequence[Mapping[str, Any]], *, as_json: bool, **more: object) -> None:
    """Print the figures with the time and the machine."""
    where = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}",
    }
    if as_json:
        print(json.dumps({**where, **more, "figures": rows}))
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for name, value in {**more, **where}.items():
        print(f"{name}: {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
