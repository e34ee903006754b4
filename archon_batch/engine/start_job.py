"""Starts the shard cursors of a job, and finishes the rows of a halted one."""

from collections.abc import Sequence
from functools import partial

from archon_batch.engine import queues
from archon_batch.engine.broker import carrier, check_broker, retry_while_busy
from archon_batch.engine.chords import send_shard_step
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.jobs.shard_step import advance_shard, finish_job_if_done
from archon_batch.store import CursorPosition, Job, Store


def start_job(store: Store, job: Job, processes: int = 1) -> int:
    """Start the job's shard cursors and send a message for each; return how many.

    A cursor moves from shard to shard, so the broker holds as many messages as cursors, however
    long the dataset. Earlier cursors of the job end, and their messages do nothing any more. Where
    each of several processes carries its own messages, this one starts its share of the cursors.

    Raises:
        BrokerError: the broker is unreachable, or refuses.
    """
    retry_while_busy(check_broker)
    # Attempts of dead processes would block their calls until they expire.
    store.recover()
    count = _cursor_count(job, processes)
    started = _send_all(job, store.shard_cursors.start(job.id, count, carrier(), queues.PLANNING))
    if not started:
        finish_job_if_done(store, job.id)
    return started


def add_cursors(store: Store, job: Job, processes: int) -> int:
    """Add this process's share of cursors to the job; return how many."""
    count = _cursor_count(job, processes)
    return _send_all(job, store.shard_cursors.add(job.id, count, carrier(), queues.PLANNING))


def take_over_cursors(store: Store, job: Job) -> int:
    """Take over the job's cursors from dead processes of this machine; return how many."""
    store.recover()
    count = store.shard_cursors.release_dead(job.id)
    return _send_all(job, store.shard_cursors.add(job.id, count, carrier(), queues.PLANNING))


def finish_rows(store: Store, job: FrozenJob) -> None:
    """Finish the rows whose replies are complete, for a job that is no longer planned by workers."""
    for shard in store.items.started_shards(job.id):
        advance_shard(store, job, shard)
    finish_job_if_done(store, job.id)


def _send_all(job: Job, positions: Sequence[CursorPosition]) -> int:
    for position in positions:
        retry_while_busy(partial(send_shard_step, job, position))
    return len(positions)


def _cursor_count(job: Job, processes: int) -> int:
    """Cursors of one process: the shards of a small job must last for all processes."""
    shards = -(-job.rows // job.shard_size)
    return max(1, min(job.concurrent_shards, shards) // processes)
