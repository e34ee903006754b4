"""Sets a job's shards going, and ends what can be ended of one that was halted."""

from collections.abc import Sequence
from functools import partial

from archon_batch.engine import queues
from archon_batch.engine.broker import carrier, patiently, reached
from archon_batch.engine.chords import send_advance
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.jobs.shard_step import advance, finished
from archon_batch.store import Job, Store, Turn


def start(store: Store, job: Job, of: int = 1) -> int:
    """Begin the job's lines of shards and send a message for each; return how many.

    A line goes from shard to shard, so that the broker holds as many as run at once, however long
    the dataset. Lines of before are over, and messages of theirs do nothing more. One of several
    processes that carry their own messages begins its share of the lines.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    patiently(reached)
    # Attempts of processes that are dead would hold calls back until they expire.
    store.recover()
    turns = _sent(job, store.lines.begin(job.id, _lines(job, of), carrier(), queues.JOINS))
    if not turns:
        finished(store, job.id)
    return turns


def join(store: Store, job: Job, of: int) -> int:
    """Add this process's share of lines to those that the job has; return how many."""
    return _sent(job, store.lines.add(job.id, _lines(job, of), carrier(), queues.JOINS))


def take_up(store: Store, job: Job) -> int:
    """Take up the job's lines that dead processes of this machine carried; return how many."""
    store.recover()
    lines = store.lines.forsake(job.id)
    return _sent(job, store.lines.add(job.id, lines, carrier(), queues.JOINS))


def _sent(job: Job, turns: Sequence[Turn]) -> int:
    for turn in turns:
        patiently(partial(send_advance, job, turn))
    return len(turns)


def _lines(job: Job, of: int) -> int:
    """A process's share, so that the shards of a small job are enough for all."""
    return max(1, min(job.width, -(-job.rows // job.shard)) // of)


def conclude_rows(store: Store, job: RunningJob) -> None:
    """End the rows that have all their replies, of a job whose joins no longer run."""
    for shard in store.items.begun_shards(job.id):
        advance(store, job, shard)
    finished(store, job.id)
