"""A step of a shard: plan its open items, put ends on record, and say which calls are missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_batch.archon import (
    Answer,
    Ask,
    Call,
    CallKey,
    GaveUp,
    plan,
)
from archon_batch.running import RunningJob
from archon_batch.store import Store

#: Calls that travel together in one message at least, if there are so many.
BATCH = 32

#: Calls by the items they belong to, as a message carries them: keys, never prompts.
Batch = list[tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class Round:
    """The calls that a shard is missing, in batches; none when all its items have ended."""

    batches: Sequence[Batch]
    ended: int


def advance(store: Store, job: RunningJob, shard: int) -> Round:
    """Plan every open item of the shard, and put on record those that have come to an end."""
    ends: list[tuple[int, Answer | GaveUp]] = []
    asked: Batch = []
    for item in store.items.open_in_shard(job.id, shard):
        step = plan(job.architecture, item.question, item.replies)
        if isinstance(step, Ask):
            asked.append((item.ix, [str(call.key) for call in step.calls]))
        else:
            ends.append((item.ix, step))
    store.items.end(job.id, ends)
    return Round(_batches(asked), len(ends))


def finished(store: Store, job_id: str) -> bool:
    """Whether no item of the job is open; the job is then done, also if it was halted."""
    if store.items.has_open(job_id):
        return False
    store.jobs.move(job_id, "done", only_from=["running", "paused", "stopped"])
    return True


def missing(store: Store, job: RunningJob, batch: Batch) -> list[tuple[int, Call]]:
    """The calls of the batch that have no reply yet, with their items.

    They are planned again, since the message names them only; what has been settled in the
    meantime is not asked for any more.
    """
    wanted = {ix: {CallKey.parse(key) for key in keys} for ix, keys in batch}
    calls: list[tuple[int, Call]] = []
    for item in store.items.open_among(job.id, wanted):
        step = plan(job.architecture, item.question, item.replies)
        if isinstance(step, Ask):
            calls += [(item.ix, call) for call in step.calls if call.key in wanted[item.ix]]
    return calls


def _batches(asked: Batch) -> list[Batch]:
    """Whole items, until there are enough calls for a message."""
    batches: list[Batch] = []
    count = BATCH
    for ix, keys in asked:
        if count >= BATCH:
            batches.append([])
            count = 0
        batches[-1].append((ix, keys))
        count += len(keys)
    return batches
