"""A large ledger: ``python -m benchmarks.store``.

Writes a job of three calls per row into a SQLite file with the statements that workers use, by default
a million attempts. Then it measures ``status``, ``cost`` and ``export``.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archon_batch.archon import Answer, CallKey, Message, Question, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.jobs import views
from archon_batch.money import NanoUsd, Price
from archon_batch.store import (
    AttemptRequest,
    AttemptResult,
    CallId,
    Job,
    NewItem,
    NewJob,
    Store,
    current_process_id,
    now,
)
from benchmarks.measure import PROGRAM, argument_parser, print_table, run

CALLS_A_ROW, AT_ONCE = 3, 1_000
MODEL = "openai/stand-in"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        began = time.process_time()
        store = Store.open(url)
        try:
            job = fill_store(store, given.entries // CALLS_A_ROW)
            took = time.process_time() - began
            rows = [
                time_call("status", lambda: views.job_status(store, job)),
                time_call("cost", lambda: views.job_cost(store, job, "component")),
            ]
        finally:
            store.close()
        used = run(
            [*PROGRAM, "export", job.id, "-o", "answers.jsonl"],
            Path(folder), ARCHON_BATCH_DATABASE_URL=url,
        )  # fmt: skip
        row = {"what": "export", "seconds": used.seconds, "cpu_seconds": used.cpu}
        rows.append({**row, "peak_mb": used.peak_mb})
    entry = took / given.entries * 1000
    print_table(rows, as_json=given.json, entries=given.entries, written_cpu_ms=entry)


def time_call(what: str, work: Callable[[], Any]) -> dict[str, Any]:
    began, cpu = time.monotonic(), time.process_time()
    work()
    seconds = time.monotonic() - began
    return {"what": what, "seconds": seconds, "cpu_seconds": time.process_time() - cpu}


def fill_store(store: Store, rows: int) -> Job:
    question = Question("", (Message("user", "What is 2 + 2?"),))
    new = NewJob(
        submit_key="store", name="store", dataset="rows.jsonl",
        architecture={"name": "store", "layers": []}, prices={MODEL: Price(1, 1)},
        options={}, shard_size=16, concurrent_shards=32, budget=None,
    )  # fmt: skip
    job, _ = store.jobs.get_or_create(new, (NewItem(str(ix), question, {}) for ix in range(rows)))
    for first in range(0, rows, AT_ONCE):
        ixs = range(first, min(rows, first + AT_ONCE))
        starts = [make_attempt_request(job, ix, slot) for ix in ixs for slot in range(CALLS_A_ROW)]
        for begun in [store.attempt_writer.admit(start) for start in starts]:
            begun.result()
        for ended in [store.attempt_writer.settle(make_attempt_result(start)) for start in starts]:
            ended.result()
        store.items.finish(job.id, [(ix, Answer("four", "0.0.0")) for ix in ixs])
        print(f"\r{ixs.stop:,} rows", end="", file=sys.stderr)
    return store.jobs.get(job.id)


def make_attempt_request(job: Job, ix: int, slot: int) -> AttemptRequest:
    return AttemptRequest(
        call=CallId(job.id, ix, CallKey(slot, 0, 0, 0)), kind="generator", model=MODEL,
        fingerprint=f"{ix:032x}{slot:032x}", hold=NanoUsd(100), expires_after=600.0, use_cache=False,
        owner=current_process_id(), begun_at=now(),
    )  # fmt: skip


def make_attempt_result(start: AttemptRequest) -> AttemptResult:
    usage = Usage(40, 45)
    return AttemptResult(
        request=start, attempt_number=1, billing=Billing.BILLED, outcome="ok", detail=None, usage=usage,
        cost=NanoUsd(85), estimated=False, reply=Reply("It is four. " * 8, usage=usage), ended_at=now(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
