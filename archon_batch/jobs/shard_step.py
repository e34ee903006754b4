"""A step of a shard: plan its open items, put ends on record, and say which calls are missing."""

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from archon_batch.archon import (
    Answer,
    Ask,
    Call,
    CallKey,
    Course,
    GaveUp,
    Model,
    plan,
)
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.store import Store

#: Calls that travel together in one message at least, if there are so many.
BATCH = 32

#: Calls by the items they belong to, as a message carries them: keys, never prompts.
Batch = list[tuple[int, list[str]]]
#: The courses of items under way, by job and item.
Courses = MutableMapping[tuple[str, int], Course]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch on its way to a queue, with what a person may want to know of it."""

    queue: str
    batch: Batch
    #: Calls by model.
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Round:
    """The calls that a shard is missing, in batches; none when all its items have ended."""

    parcels: Sequence[Parcel]
    ended: int
    #: The calls themselves by item, for the process that has planned them.
    calls: Mapping[int, tuple[Call, ...]] = field(default_factory=dict)

    @property
    def batches(self) -> list[Batch]:
        return [parcel.batch for parcel in self.parcels]


def advance(
    store: Store,
    job: RunningJob,
    shard: int,
    queue_of: Callable[[Model], str] = lambda _: "",
    *,
    batch: int = BATCH,
    courses: Courses | None = None,
) -> Round:
    """Plan every open item of the shard, and put on record those that have come to an end.

    Batches hold calls of one queue, as ``queue_of`` has them, and ``batch`` calls at least if
    there are so many. With ``courses`` an item goes on from where its last plan ended.
    """
    courses = {} if courses is None else courses
    ends: list[tuple[int, Answer | GaveUp]] = []
    asked: dict[str, Batch] = {}
    models: dict[tuple[int, str], str] = {}
    calls: dict[int, tuple[Call, ...]] = {}
    for item in store.items.open_in_shard(job.id, shard):
        # Taken out while it is gone on with: another thread may come for the same shard.
        course = courses.pop((job.id, item.ix), None) or Course(job.architecture, item.question)
        step = course.step(item.replies)
        if not isinstance(step, Ask):
            course.close()
            ends.append((item.ix, step))
            continue
        courses[job.id, item.ix] = course
        calls[item.ix] = step.calls
        keys: dict[str, list[str]] = {}
        for call in step.calls:
            keys.setdefault(queue_of(call.model), []).append(str(call.key))
            models[item.ix, str(call.key)] = call.model.model
        for queue, some in keys.items():
            asked.setdefault(queue, []).append((item.ix, some))
    store.items.end(job.id, ends)
    parcels = [
        Parcel(queue, some, dict(Counter(models[ix, key] for ix, k in some for key in k)))
        for queue, all_of_it in asked.items()
        for some in _batches(all_of_it, batch)
    ]
    return Round(parcels, len(ends), calls)


def finished(store: Store, job_id: str) -> bool:
    """Whether no item of the job is open; the job is then done, also if it was halted."""
    return not store.items.has_open(job_id) and store.jobs.conclude(job_id)


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


def _batches(asked: Batch, enough: int) -> list[Batch]:
    """Whole items, until there are enough calls for a message."""
    batches: list[Batch] = []
    count = enough
    for ix, keys in asked:
        if count >= enough:
            batches.append([])
            count = 0
        batches[-1].append((ix, keys))
        count += len(keys)
    return batches
