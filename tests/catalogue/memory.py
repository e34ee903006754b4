"""How much memory a command takes at the most, in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

#: Of this process alone: what wait() tells is at least what its parent had when it was begun.
_PROGRAM = """\
import sys
from archon_batch.cli import main
try:
    main(sys.argv[1:])
finally:
    with open("/proc/self/status") as file:
        print(next(line for line in file if line.startswith("VmHWM")), file=sys.stderr)
"""


@dataclass(frozen=True)
class Peak:
    status: int
    said: str
    mib: float


def peak(folder: Path, *arguments: str) -> Peak:
    line = [sys.executable, "-c", _PROGRAM, *arguments]
    ended = subprocess.run(
        line, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    said, _, high = ended.stderr.rpartition("VmHWM:")
    return Peak(ended.returncode, said, int(high.split()[0]) / 1024)
