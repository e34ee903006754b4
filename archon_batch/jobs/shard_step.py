"""One step of a shard: plan its open items, record final answers, and list the missing calls."""

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

#: Minimum calls of a message, if the shard has that many.
BATCH_SIZE = 32

#: The keys of calls, by the index of their item, as a message carries them: never prompts.
BatchKeys = list[tuple[int, list[str]]]
#: The planners of unfinished items, by job and item.
Planners = MutableMapping[tuple[str, int], ItemPlanner]


@dataclass(frozen=True, slots=True)
class CallBatch:
    """The calls of one message, with its queue and the figures for its label."""

    queue: str
    keys: BatchKeys
    #: Number of calls by model.
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Round:
    """The missing calls of a shard in batches; no batch when all its items are final."""

    call_batches: Sequence[CallBatch]
    ended_count: int

    @property
    def batch_keys(self) -> list[BatchKeys]:
        return [batch.keys for batch in self.call_batches]


def advance_shard(
    store: Store,
    job: FrozenJob,
    shard: int,
    queue_for: Callable[[Model], str] = lambda _: "",
    *,
    batch_size: int = BATCH_SIZE,
    planners: Planners | None = None,
) -> Round:
    """Plan every open item of the shard, and record the items that are final.

    Args:
        store: the job's database.
        job: the job.
        shard: the index of the shard.
        queue_for: the queue for calls of a model; a batch holds calls of one queue.
        batch_size: minimum calls of a batch, if the shard has that many.
        planners: planners of earlier steps, which continue; the step updates it.
    """
    planners = {} if planners is None else planners
    final: list[tuple[int, Answer | Failed]] = []
    keys_by_queue: dict[str, BatchKeys] = {}
    models: dict[tuple[int, str], str] = {}
    for item in store.items.open_in_shard(job.id, shard):
        # Remove the planner while it is in use: another thread may plan the same shard.
        planner = planners.pop((job.id, item.ix), None)
        planner = planner or ItemPlanner(job.architecture, item.question)
        step = planner.next_step(item.replies)
        if not isinstance(step, CallsNeeded):
            planner.close()
            final.append((item.ix, step))
            continue
        planners[job.id, item.ix] = planner
        keys: dict[str, list[str]] = {}
        for call in step.calls:
            keys.setdefault(queue_for(call.model), []).append(str(call.key))
            models[item.ix, str(call.key)] = call.model.model
        for queue, item_keys in keys.items():
            keys_by_queue.setdefault(queue, []).append((item.ix, item_keys))
    store.items.finish(job.id, final)
    batches = [
        CallBatch(queue, batch, dict(Counter(models[ix, key] for ix, ks in batch for key in ks)))
        for queue, queue_keys in keys_by_queue.items()
        for batch in _split_into_batches(queue_keys, batch_size)
    ]
    return Round(batches, len(final))


def finish_job_if_done(store: Store, job_id: str) -> bool:
    """Mark the job done if no item is open, also a halted job; return whether no item is open."""
    return not store.items.has_open(job_id) and store.jobs.mark_done_if_complete(job_id)


def missing_calls(store: Store, job: FrozenJob, batch: BatchKeys) -> list[tuple[int, Call]]:
    """The calls of the batch that have no reply yet, with the index of their item.

    The message has only their keys, so the items are planned again.
    """
    wanted = {ix: {CallKey.parse(key) for key in keys} for ix, keys in batch}
    calls: list[tuple[int, Call]] = []
    for item in store.items.open_by_index(job.id, wanted):
        step = plan_item(job.architecture, item.question, item.replies)
        if isinstance(step, CallsNeeded):
            calls += [(item.ix, call) for call in step.calls if call.key in wanted[item.ix]]
    return calls


def _split_into_batches(item_keys: BatchKeys, size: int) -> list[BatchKeys]:
    """Batches of whole items, with at least ``size`` calls each except the last."""
    batches: list[BatchKeys] = []
    count = size
    for ix, keys in item_keys:
        if count >= size:
            batches.append([])
            count = 0
        batches[-1].append((ix, keys))
        count += len(keys)
    return batches
