"""How well the search algorithms work, and how many calls a search pays for.

    python -m benchmarks.search PATH [--part N]
    python -m benchmarks.search --paid [--trials N] [--rows N] [--algorithm A] [--seed S]

PATH is JSONL with a prompt, the right answer (gold) and recorded answers of several models
(candidates: model, output) per row, such as those of five models to GSM8K.

1. Bayes, greedy and random at equal trials over ten seeds, on the number of votes of each model. The
   score of every architecture is looked up, so the regret is exact.
2. The whole command, with a provider on loopback that replays the recorded answers.

With --paid: the whole command over the paper's space (jobs/searches/archon.yaml), with a provider of
simulated models (benchmarks/simulated_models.py). It prints, as every search does, how many calls it
paid for, and how many it would have paid for without sharing.
"""

import argparse
import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from archon_batch.archon import Model, extract_number
from archon_batch.evaluation.metrics.number import NumberMetric
from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.axes import Point
from archon_batch.search.enumerate_space import enumerate_space
from archon_batch.search.search_state import AlgorithmName, Observation, SearchState
from archon_batch.search.space import AxisOptions, Roles, Space
from archon_batch.search.split import split_rows
from benchmarks.measure import PROGRAM, ROOT
from benchmarks.simulated_models import question, run_provider
from benchmarks.stand_in import fetch_load

SEEDS = range(10)
_COMPARED: tuple[AlgorithmName, ...] = ("bayes", "greedy", "random")
SPACE = """\
name: votes
models:
{models}
roles:
  generators: [{names}]
  voter: number
axes:
  mix: {{{mix}}}
  fusions: 0
  evaluation: voter
"""
Row = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("path", type=Path, nargs="?")
    options.add_argument("--part", type=int, choices=(1, 2), action="append")
    options.add_argument("--trials", type=int, default=100)
    options.add_argument(
        "--paid", action="store_true", help="over the paper's space; needs no PATH"
    )
    options.add_argument("--rows", type=int, default=50, help="dev rows of --paid")
    options.add_argument("--algorithm", default="bayes", help="of --paid")
    options.add_argument("--seed", type=int, default=0, help="of --paid")
    given = options.parse_args()
    if given.paid:
        run_paid_search(given.trials, given.rows, given.algorithm, given.seed)
        return
    if given.path is None:
        options.error("PATH, or --paid")
    rows = [json.loads(line) for line in given.path.read_text("utf-8").split("\n") if line]
    for part in given.part or (1, 2):
        (compare_algorithms, run_recorded_search)[part - 1](rows, given.trials)


# 1. Algorithms


def compare_algorithms(rows: Sequence[Row], trials: int) -> None:
    models = [c["model"] for c in rows[0]["candidates"]]
    space = votes_space(models)
    points = enumerate_space(space).points
    metric = NumberMetric()
    dev, held_out = split_rows([_RecordedRow(row) for row in rows], 0.2, 0)
    truth = {point: _score(point, models, dev, metric) for point in points}
    best = max(truth.values())
    single = max(models, key=lambda model: _single_score(model, models, dev, metric))
    alone = _single_score(single, models, held_out, metric)
    print(f"{len(points):,} architectures, {len(dev)} dev rows; best {best:.4f} on them")
    print(f"best single model {single}: {alone:.4f} on {len(held_out)} held-out rows")
    for name in _COMPARED:
        curves, ends = [], []
        for seed in SEEDS:
            curve, found = _run_search(name, space, points, truth, seed, trials)
            curves.append([best - value for value in curve])
            ends.append(_score(found, models, held_out, metric))
        regret = {n: fmean(c[min(n, len(c)) - 1] for c in curves) for n in (10, 20, 40, 70, trials)}
        told = ", ".join(f"{n}: {value:.4f}" for n, value in regret.items())
        spread = stdev(c[-1] for c in curves)
        print(f"{name:7} regret after trials {told} (sd {spread:.4f}); "
              f"held out {fmean(ends):.4f} ({min(ends):.4f} to {max(ends):.4f})")  # fmt: skip


def _run_search(
    name: AlgorithmName,
    space: Space,
    points: Sequence[Point],
    truth: Mapping[Point, float],
    seed: int,
    trials: int,
) -> tuple[list[float], Point]:
    ground = SearchState(space.search_axes, points, seed)
    tried: list[Observation] = []
    curve: list[float] = []
    while len(tried) < trials:
        batch = ALGORITHMS[name](ground, tried, min(4, trials - len(tried)))
        tried += [Observation(point, truth[point]) for point in batch]
    for one in tried:
        curve.append(max(curve[-1] if curve else 0.0, one.value))
    return curve, max(tried, key=lambda one: one.value).point


class _RecordedRow:
    def __init__(self, row: dict[str, Any]) -> None:
        self.id = str(row["id"])
        self.row = row


def votes_space(models: Sequence[str], max_votes: int = 3) -> Space:
    return Space(
        name="votes",
        models={name: Model(model=f"openai/{name}") for name in models},
        roles=Roles(generators=tuple(models), voter="number"),
        axes=AxisOptions(
            mix={name: tuple(range(max_votes + 1)) for name in models},
            fusions=(0,),
            evaluation=("none", "voter"),
        ),
    )


def _score(
    point: Point, models: Sequence[str], rows: Sequence[_RecordedRow], metric: NumberMetric
) -> float:
    """The share of rows that the vote gets right, counted like the voter does."""
    weights = [int(point[f"samples of {name}"]) for name in models]
    return fmean(_row_score(one.row, weights, metric) for one in rows)


def _single_score(
    model: str, models: Sequence[str], rows: Sequence[_RecordedRow], metric: NumberMetric
) -> float:
    weights = [int(name == model) for name in models]
    return fmean(_row_score(one.row, weights, metric) for one in rows)


def _row_score(row: dict[str, Any], weights: Sequence[int], metric: NumberMetric) -> float:
    if "read" not in row:
        row["read"] = [extract_number(c["output"]) for c in row["candidates"]]
        prepared = metric.parse_reference(row["gold"])
        row["right"] = [metric.score(c["output"], prepared).value for c in row["candidates"]]
    counts: dict[str, int] = {}
    for answer, weight in zip(row["read"], weights, strict=True):
        if answer is not None and weight:
            counts[answer] = counts.get(answer, 0) + weight
    best, value = -1, 0.0
    for answer, right, weight in zip(row["read"], row["right"], weights, strict=True):
        if weight and counts.get(answer, 0) > best:
            best, value = counts.get(answer, 0), right
    return value


# Paid calls over the paper's space


def run_paid_search(trials: int, dev: int, algorithm: str, seed: int) -> None:
    """Run the command over the paper's space with a provider of simulated models."""
    with tempfile.TemporaryDirectory() as name, run_provider() as url:
        folder = Path(name)
        text = (ROOT / "jobs" / "searches" / "archon.yaml").read_text("utf-8")
        model = rf"  \1: {{model: openai/\1, api_base: {url}, price: {{input: 0.15, output: 0.6}}}}"
        (folder / "archon.yaml").write_text(re.sub(r"(?m)^  ([a-j]): \{model: .*$", model, text))
        sums = [question(n) for n in range(2 * dev)]
        data = [
            json.dumps({"id": str(n), "prompt": p, "answer": a}) for n, (p, a) in enumerate(sums)
        ]
        (folder / "rows.jsonl").write_text("\n".join(data) + "\n")
        command = [*PROGRAM, "search", "rows.jsonl", "--space", "archon.yaml", "--metric", "number",
                   "--algorithm", algorithm, "--trials", str(trials), "--dev", "0.5",
                   "--seed", str(seed), "--budget", "100"]  # fmt: skip
        began = time.monotonic()
        subprocess.run(command, cwd=folder, check=True)
        asked = fetch_load(url)["requests"]
        print(f"the provider got {asked:,} requests; {time.monotonic() - began:,.0f} seconds")


# 2. The whole command, on recorded answers


def run_recorded_search(rows: Sequence[Row], trials: int) -> None:
    models = [c["model"] for c in rows[0]["candidates"]]
    with tempfile.TemporaryDirectory() as name, replay_provider(rows) as (url, asked):
        folder = Path(name)
        lines = "\n".join(
            f"  {m}: {{model: openai/{m}, api_base: {url}, price: {{input: 0.15, output: 0.6}}}}"
            for m in models
        )
        mix = ", ".join(f"{m}: [0, 1, 2, 3]" for m in models)
        text = SPACE.format(models=lines, names=", ".join(models), mix=mix)
        (folder / "votes.yaml").write_text(text)
        data = [json.dumps({k: row[k] for k in ("id", "prompt", "gold")}) for row in rows]
        (folder / "rows.jsonl").write_text("\n".join(data) + "\n")
        command = [*PROGRAM, "search", "rows.jsonl", "--space",
                   "votes.yaml", "--metric", "number", "--reference", "gold", "--trials",
                   str(trials), "--budget", "20"]  # fmt: skip
        subprocess.run(command, cwd=folder, check=True)
        print(f"the provider got {len(asked):,} requests")


@contextmanager
def replay_provider(rows: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """A provider that replays recorded answers; yields its URL and the requested models."""
    answers = {
        (c["model"], row["prompt"].strip()): c["output"] for row in rows for c in row["candidates"]
    }
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body["model"])
            prompt = body["messages"][-1]["content"]
            text = answers[body["model"], prompt.strip()]
            usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
            message = {"role": "assistant", "content": text}
            told = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": usage | {"total_tokens": sum(usage.values())}}  # fmt: skip
            data = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
