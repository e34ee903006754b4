"""Sets a job's shards going, and ends what can be ended of one that was halted."""

from collections.abc import Sequence
from functools import partial

from archon_batch.engine import queues
from archon_batch.engine.broker import carrier, check_broker, retry_while_busy
from archon_batch.engine.chords import send_shard_step
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.jobs.shard_step import advance_shard, finish_job_if_done
from archon_batch.store import CursorPosition, Job, Store


def start_job(store: Store, job: Job, processes: int = 1) -> int:
    """Begin the job's lines of shards and send a message for each; return how many.

    A line goes from shard to shard, so that the broker holds as many as run at once, however long
    the dataset. Lines of before are over, and messages of theirs do nothing more. One of several
    processes that carry their own messages begins its share of the lines.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    retry_while_busy(check_broker)
    # Attempts of processes that are dead would hold calls back until they expire.
    store.recover()
    turns = _send_all(
        job,
        store.shard_cursors.start(
            job.id, _cursor_count(job, processes), carrier(), queues.PLANNING
        ),
    )
    if not turns:
        finish_job_if_done(store, job.id)
    return turns


def add_cursors(store: Store, job: Job, processes: int) -> int:
    """Add this process's share of lines to those that the job has; return how many."""
    return _send_all(
        job,
        store.shard_cursors.add(job.id, _cursor_count(job, processes), carrier(), queues.PLANNING),
    )


def take_over_cursors(store: Store, job: Job) -> int:
    """Take up the job's lines that dead processes of this machine carried; return how many."""
    store.recover()
    lines = store.shard_cursors.release_dead(job.id)
    return _send_all(job, store.shard_cursors.add(job.id, lines, carrier(), queues.PLANNING))


def _send_all(job: Job, positions: Sequence[CursorPosition]) -> int:
    for turn in positions:
        retry_while_busy(partial(send_shard_step, job, turn))
    return len(positions)


def _cursor_count(job: Job, processes: int) -> int:
    """A process's share, so that the shards of a small job are enough for all."""
    return max(1, min(job.concurrent_shards, -(-job.rows // job.shard_size)) // processes)


def finish_rows(store: Store, job: FrozenJob) -> None:
    """End the rows that have all their replies, of a job whose joins no longer run."""
    for shard in store.items.started_shards(job.id):
        advance_shard(store, job, shard)
    finish_job_if_done(store, job.id)
