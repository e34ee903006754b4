"""A flame graph of the hot path: ``python -m benchmarks.flame docs/flame.png``.

Runs a job like ``overhead`` under py-spy (``pip install py-spy``) and draws which functions hold the
interpreter lock, by thread. Functions below half a percent are left out.
"""

import argparse
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measure import PROGRAM, job_folder, run
from benchmarks.overhead import ARCHITECTURE
from benchmarks.stand_in import run_stand_in

MIN_SHARE = 0.005
COLOURS = {
    "archon_batch/": "#f28e2b", "aiohttp/": "#76b7b2", "celery/": "#59a14f", "kombu/": "#8cd17d",
    "sqlalchemy/": "#b07aa1", "": "#d4d4d4",
}  # fmt: skip


@dataclass(slots=True)
class Frame:
    samples: int = 0
    children: dict[str, "Frame"] = field(default_factory=dict)

    def add(self, stack: list[str], samples: int) -> None:
        self.samples += samples
        if stack:
            self.children.setdefault(stack[0], Frame()).add(stack[1:], samples)

    def bars(self, left: int, depth: int, least: float) -> Iterator[tuple[str, int, int, int]]:
        """Name, left edge, width and depth of each bar below this frame."""
        for name, frame in sorted(self.children.items()):
            if frame.samples >= least:
                yield name, left, frame.samples, depth
                yield from frame.bars(left, depth + 1, least)
            left += frame.samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--rows", type=int, default=4_096)
    given = parser.parse_args()
    spy = shutil.which("py-spy")
    if spy is None:
        parser.error("py-spy is not on the PATH; pip install py-spy")
    record = [spy, "record", "--gil", "--threads", "--rate", "200", "--format", "raw"]
    fields = {"transport": "direct", "model": "openai/stand-in"}
    with (
        run_stand_in(0.05) as url,
        job_folder(ARCHITECTURE, given.rows, url=url, **fields) as folder,
    ):
        command = [*PROGRAM, "submit", "rows.jsonl", "--arch", "bench.yaml", "--processes", "1"]
        run([*record, "--output", "stacks", "--", *command], folder)
        whole = parse_stacks((folder / "stacks").read_text(encoding="utf-8"))
    draw_flame_graph(whole, given.picture)


def parse_stacks(stacks: str) -> Frame:
    """The frames without thread and line numbers, and without imports."""
    whole = Frame()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        if "_find_and_load" not in stack:
            names = re.sub(r":\d+\)|[_-]\d+(?=;)", ")", stack.replace("site-packages/", ""))
            thread, *frames = names.split(";")
            thread = re.sub(r"thread \(\d+\)?:? ?", "", thread).strip(" )")
            whole.add([thread, *frames], int(samples))
    return whole


def draw_flame_graph(root: Frame, path: Path) -> None:
    bars = list(root.bars(0, 0, MIN_SHARE * root.samples))
    figure = Figure(figsize=(16, 0.19 * (2 + max(depth for *_, depth in bars))), layout="tight")
    axes = figure.add_subplot()
    for name, left, width, depth in bars:
        colour = next(c for part, c in COLOURS.items() if f"({part}" in name or not part)
        axes.barh(depth, width, left=left, height=1, color=colour, edgecolor="white", lw=0.5)
        room = int(220 * width / root.samples)
        if room > 3:  # noqa: PLR2004  (a shorter name is useless)
            axes.text(left, depth, f" {name[:room]}", va="center", fontsize=6, clip_on=True)
    axes.set_xlim(0, root.samples)
    axes.invert_yaxis()
    axes.axis("off")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
