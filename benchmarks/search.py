"""How well architectures are found: ``python -m benchmarks.search PATH [--part N]``.

PATH is JSONL whose rows have a prompt, the right answer (gold) and recorded answers of several
models (candidates: model, output), such as those of five models to GSM8K.

1. Bayes, greedy and random at equal trials over ten seeds, on how many votes each model is to
   have. Every architecture's score is looked up, so that the regret is exact.
2. The paid calls of a search over the paper's space on fifty rows, counted with made-up scores.
3. The whole command, with a provider on loopback that replays the recorded answers.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from archon_batch.archon import Message, Model, Question, flows, number
from archon_batch.files import find_space, read_space
from archon_batch.itas import Plan, Search
from archon_batch.ledger import NanoUsd
from archon_batch.scoring.metrics.number import Number
from archon_batch.search import ALGORITHMS, Ground, Name, Point, Space, Tried, census, split
from archon_batch.search.space import Choices, Roles
from archon_batch.trials import Case, Outcome, Outcomes, Tally, Wanted

SEEDS = range(10)
_COMPARED: tuple[Name, ...] = ("bayes", "greedy", "random")
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
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("path", type=Path)
    options.add_argument("--part", type=int, choices=(1, 2, 3), action="append")
    options.add_argument("--trials", type=int, default=100)
    given = options.parse_args()
    rows = [json.loads(line) for line in given.path.read_text("utf-8").split("\n") if line]
    for part in given.part or (1, 2, 3):
        (compare, sharing, whole)[part - 1](rows, given.trials)


# 1. Algorithms


def compare(rows: Sequence[Row], trials: int) -> None:
    models = [c["model"] for c in rows[0]["candidates"]]
    space = votes(models)
    points = census(space).points
    metric = Number()
    dev, held_out = split([_HasId(row) for row in rows], 0.2, 0)
    truth = {point: _score(point, models, dev, metric) for point in points}
    best = max(truth.values())
    single = max(models, key=lambda model: _alone(model, models, dev, metric))
    alone = _alone(single, models, held_out, metric)
    print(f"{len(points):,} architectures, {len(dev)} dev rows; best {best:.4f} on them")
    print(f"best single model {single}: {alone:.4f} on {len(held_out)} held-out rows")
    for name in _COMPARED:
        curves, ends = [], []
        for seed in SEEDS:
            curve, found = _searched(name, space, points, truth, seed, trials)
            curves.append([best - value for value in curve])
            ends.append(_score(found, models, held_out, metric))
        regret = {n: fmean(c[min(n, len(c)) - 1] for c in curves) for n in (10, 20, 40, 70, trials)}
        told = ", ".join(f"{n}: {value:.4f}" for n, value in regret.items())
        spread = stdev(c[-1] for c in curves)
        print(f"{name:7} regret after trials {told} (sd {spread:.4f}); "
              f"held out {fmean(ends):.4f} ({min(ends):.4f} to {max(ends):.4f})")  # fmt: skip


def _searched(
    name: Name,
    space: Space,
    points: Sequence[Point],
    truth: Mapping[Point, float],
    seed: int,
    trials: int,
) -> tuple[list[float], Point]:
    ground = Ground(space.choices, points, seed)
    tried: list[Tried] = []
    curve: list[float] = []
    while len(tried) < trials:
        batch = ALGORITHMS[name](ground, tried, min(4, trials - len(tried)))
        tried += [Tried(point, truth[point]) for point in batch]
    for one in tried:
        curve.append(max(curve[-1] if curve else 0.0, one.value))
    return curve, max(tried, key=lambda one: one.value).point


class _HasId:
    def __init__(self, row: dict[str, Any]) -> None:
        self.id = str(row["id"])
        self.row = row


def votes(models: Sequence[str], most: int = 3) -> Space:
    return Space(
        name="votes",
        models={name: Model(model=f"openai/{name}") for name in models},
        roles=Roles(generators=tuple(models), voter="number"),
        axes=Choices(
            mix={name: tuple(range(most + 1)) for name in models},
            fusions=(0,),
            evaluation=("none", "voter"),
        ),
    )


def _score(point: Point, models: Sequence[str], rows: Sequence[_HasId], metric: Number) -> float:
    """The share of rows that the votes get right, as the voter counts them."""
    weights = [int(point[f"samples of {name}"]) for name in models]
    return fmean(_right(one.row, weights, metric) for one in rows)


def _alone(model: str, models: Sequence[str], rows: Sequence[_HasId], metric: Number) -> float:
    weights = [int(name == model) for name in models]
    return fmean(_right(one.row, weights, metric) for one in rows)


def _right(row: dict[str, Any], weights: Sequence[int], metric: Number) -> float:
    if "read" not in row:
        row["read"] = [number(c["output"]) for c in row["candidates"]]
        prepared = metric.prepared(row["gold"])
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


# 2. Calls that are shared


class Counted:
    """Counts the calls of architectures, and of these the requests that are new.

    A request is known by its row, by all layers before it and by who asks it: so it is when replies
    follow from requests alone. Who looks at the question only shares with any architecture.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.left = None
        self._paid: set[object] = set()

    def run(self, wanted: Sequence[Wanted], keep: NanoUsd = NanoUsd(0)) -> list[Outcomes]:  # noqa: B008
        del keep
        return [self._one(one) for one in wanted]

    def _one(self, wanted: Wanted) -> Outcomes:
        asked: list[object] = []
        above: tuple[str, ...] = ()
        for layer, flow in zip(wanted.architecture.layers, flows(wanted.architecture), strict=True):
            for component in layer:
                # Two generators of a model would share samples; here each has a model of its own.
                own = str(component.model_copy(update={"samples": 1} if not above else {}))
                alone = component.type in ("generator", "unit_test_generator")
                asked += [(() if alone else above, own, n)
                          for n in range(component.calls(flow.arriving.high).high)]  # fmt: skip
            above = (*above, str(layer))
        for case in wanted.cases:
            new = {(case.id, one) for one in asked} - self._paid
            self._paid |= new
            self.tally.settled += len(asked)
            self.tally.found += len(asked) - len(new)
        good = 0.45 + 0.03 * min(len(above), 9)
        return {
            case.id: Outcome(
                float(_luck(case.id) + _luck(case.id, above) < 2 * good), len(asked), 0, 0
            )
            for case in wanted.cases
        }


def _luck(*what: object) -> float:
    """From 0 to 1: a made-up quality, in which some rows are hard and some architectures lucky."""
    return int(hashlib.sha256(repr(what).encode()).hexdigest()[:6], 16) / 16**6


def sharing(rows: Sequence[Row], trials: int) -> None:
    space, _ = read_space(find_space("archon"))
    cases = [Case(row["id"], _question(row), {}) for row in rows]
    for halving in (True, False):
        plan = Plan(
            space, ALGORITHMS["bayes"], trials=trials, at_once=4, dev=cases[:50],
            held_out=cases[50:51], seed=0, finalists=1, halving=halving,
        )  # fmt: skip
        found = Search(Counted(), plan).run()
        share = found.paid_calls / found.single_file_calls
        print(f"halving {halving}: {found.architectures:,} architectures, {found.ended}: paid "
              f"{found.paid_calls:,} calls instead of {found.single_file_calls:,} ({share:.1%})")  # fmt: skip


def _question(row: Row) -> Question:
    return Question(str(row["id"]), (Message("user", row["prompt"]),))


# 3. The whole command


def whole(rows: Sequence[Row], trials: int) -> None:
    models = [c["model"] for c in rows[0]["candidates"]]
    with tempfile.TemporaryDirectory() as name, replayed(rows) as (url, asked):
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
        command = [sys.executable, "-m", "archon_batch", "search", "rows.jsonl", "--space",
                   "votes.yaml", "--metric", "number", "--reference", "gold", "--trials",
                   str(trials), "--budget", "20"]  # fmt: skip
        subprocess.run(command, cwd=folder, check=True)
        print(f"the provider was asked {len(asked):,} times")


@contextmanager
def replayed(rows: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """A provider that gives each model's recorded answer; its address, and who was asked."""
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
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
