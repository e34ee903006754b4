"""Time, memory and size of the HTML report of a large job.

    .venv/bin/python -m benchmarks.html_report [ROWS]

The job is written to a new database: per row five candidates, a ranker and a fuser, with replies of
1,000 characters that end in a number.
"""

import resource
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from archon_batch import html_report
from archon_batch.archon import Message, Question, read_architecture
from archon_batch.store import Job, NewItem, NewJob, Store, now, schema

_LAYERS: list[list[dict[str, Any]]] = [
    [{"type": "generator", "samples": 3}, {"type": "generator", "model": "rough", "samples": 2}],
    [{"type": "ranker"}],
    [{"type": "fuser"}],
    [{"type": "voter", "extract": "number"}],
]
_CALLS = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (1, 0, 0), (2, 0, 0)]
_PART = 1_000


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/store.db")
        job = make_job(store, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        size = html_report.write_report(store, job, Path(folder) / "page.html")
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.close()
    print(f"{rows:,} rows, {rows * len(_CALLS):,} calls: {size / 1024:,.0f} KiB page")
    print(f"{took:.1f} s, {cpu:.1f} s of CPU; {peak / 1024:,.0f} MiB peak")
    print(f"{before / 1024:,.0f} MiB of it before rendering started")


def make_job(store: Store, rows: int) -> Job:
    """A finished job with that many rows."""
    architecture = read_architecture({
        "name": "large",
        "models": {"good": {"model": "scripted/plausible"}, "rough": {"model": "scripted/rough"}},
        "defaults": {"model": "good"},
        "layers": _LAYERS,
    })  # fmt: skip
    new = NewJob(
        "large",
        "large",
        "rows.jsonl",
        architecture.to_dict(),
        {},
        {},
        shard_size=16,
        concurrent_shards=32,
        budget=None,
    )
    items = (
        NewItem(f"r{ix}", Question(f"r{ix}", (Message("user", f"What is {ix} + {ix}?"),)), {})
        for ix in range(rows)
    )
    job, _ = store.jobs.get_or_create(new, items)
    for first in range(0, rows, _PART):
        _settle(store, job, range(first, min(rows, first + _PART)))
    store.jobs.change_state(job.id, "done", from_states=["running"])
    return store.jobs.get(job.id)


def _settle(store: Store, job: Job, part: range) -> None:
    at, calls, attempts = now(), [], []
    for ix in part:
        for layer, component, index in _CALLS:
            noise = (ix * 2654435761 + layer * 97 + component * 31 + index * 7) % 1000
            right = 2 * ix if noise % 4 else noise
            common = {
                "job_id": job.id, "ix": ix, "key": f"{layer}.{component}.{index}.0", "layer": layer,
                "component": component, "kind": _LAYERS[layer][component]["type"],
                "model": "scripted/rough" if component else "scripted/plausible",
                "fingerprint": f"{ix}.{layer}.{component}.{index}",
            }  # fmt: skip
            text = "Answer: [1] > [2] > [3] > [4] > [5]" if layer == 1 else f"{'so ' * 330}{right}"
            calls.append(common | {"text": text, "cached": False, "settled_at": at})
            attempts.append(common | {
                "attempt_number": 1, "owner": "x", "state": "billed", "outcome": "ok", "hold": 0,
                "cost": 10_000 + noise, "estimated": False, "prompt_tokens": 300 + noise,
                "completion_tokens": 250, "counted": True, "begun_at": at, "expires_at": at,
                "ended_at": at + timedelta(milliseconds=300 + 9 * noise),
            })  # fmt: skip
    items = schema.items
    ends = [{"of_ix": ix, "answer": f"So it is {2 * ix}."} for ix in part]
    with store.database.write_transaction() as connection:
        connection.execute(sa.insert(schema.calls), calls)
        connection.execute(sa.insert(schema.attempts), attempts)
        connection.execute(
            sa.update(items)
            .where(items.c.job_id == job.id, items.c.ix == sa.bindparam("of_ix"))
            .values(status="answered", ended_at=at),
            ends,
        )


if __name__ == "__main__":
    main()
