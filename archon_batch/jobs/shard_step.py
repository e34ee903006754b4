"""A step of a shard: plan its open items, put ends on record, and say which calls are missing."""

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from archon_batch.archon import (
    Answer,
    Call,
    CallKey,
    CallsNeeded,
    Failed,
    ItemPlanner,
    Model,
    plan_item,
)
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.store import Store

#: Calls that travel together in one message at least, if there are so many.
BATCH_SIZE = 32

#: Calls by the items they belong to, as a message carries them: keys, never prompts.
BatchKeys = list[tuple[int, list[str]]]
#: The planners of unfinished items, by job and item.
Planners = MutableMapping[tuple[str, int], ItemPlanner]


@dataclass(frozen=True, slots=True)
class CallBatch:
    """A batch on its way to a queue, with what a person may want to know of it."""

    queue: str
    keys: BatchKeys
    #: Calls by model.
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Round:
    """The calls that a shard is missing, in batches; none when all its items have ended."""

    call_batches: Sequence[CallBatch]
    ended_count: int

    @property
    def batch_keys(self) -> list[BatchKeys]:
        return [parcel.keys for parcel in self.call_batches]


def advance_shard(
    store: Store,
    job: FrozenJob,
    shard: int,
    queue_for: Callable[[Model], str] = lambda _: "",
    *,
    batch_size: int = BATCH_SIZE,
    planners: Planners | None = None,
) -> Round:
    """Plan every open item of the shard, and put on record those that have come to an end.

    Batches hold calls of one queue, as ``queue_for`` has them, and ``batch_size`` calls at least if
    there are so many. With ``planners`` an item goes on from where its last plan ended.
    """
    planners = {} if planners is None else planners
    ends: list[tuple[int, Answer | Failed]] = []
    asked: dict[str, BatchKeys] = {}
    models: dict[tuple[int, str], str] = {}
    for item in store.items.open_in_shard(job.id, shard):
        # Remove the planner while it is in use: another thread may plan the same shard.
        planner = planners.pop((job.id, item.ix), None)
        planner = planner or ItemPlanner(job.architecture, item.question)
        step = planner.next_step(item.replies)
        if not isinstance(step, CallsNeeded):
            planner.close()
            ends.append((item.ix, step))
            continue
        planners[job.id, item.ix] = planner
        keys: dict[str, list[str]] = {}
        for call in step.calls:
            keys.setdefault(queue_for(call.model), []).append(str(call.key))
            models[item.ix, str(call.key)] = call.model.model
        for queue, some in keys.items():
            asked.setdefault(queue, []).append((item.ix, some))
    store.items.finish(job.id, ends)
    parcels = [
        CallBatch(queue, some, dict(Counter(models[ix, key] for ix, k in some for key in k)))
        for queue, all_of_it in asked.items()
        for some in _split_into_batches(all_of_it, batch_size)
    ]
    return Round(parcels, len(ends))


def finish_job_if_done(store: Store, job_id: str) -> bool:
    """Whether no item of the job is open; the job is then done, also if it was halted."""
    return not store.items.has_open(job_id) and store.jobs.mark_done_if_complete(job_id)


def missing_calls(store: Store, job: FrozenJob, batch: BatchKeys) -> list[tuple[int, Call]]:
    """The calls of the batch that have no reply yet, with their items.

    They are planned again, since the message names them only; what has been settled in the
    meantime is not asked for any more.
    """
    wanted = {ix: {CallKey.parse(key) for key in keys} for ix, keys in batch}
    calls: list[tuple[int, Call]] = []
    for item in store.items.open_by_index(job.id, wanted):
        step = plan_item(job.architecture, item.question, item.replies)
        if isinstance(step, CallsNeeded):
            calls += [(item.ix, call) for call in step.calls if call.key in wanted[item.ix]]
    return calls


def _split_into_batches(asked: BatchKeys, size: int) -> list[BatchKeys]:
    """Whole items, until there are enough calls for a message."""
    batches: list[BatchKeys] = []
    count = size
    for ix, keys in asked:
        if count >= size:
            batches.append([])
            count = 0
        batches[-1].append((ix, keys))
        count += len(keys)
    return batches
