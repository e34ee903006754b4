"""Sets a job's shards going, and ends what can be ended of one that was halted."""

from archon_batch.advance import advance, finished
from archon_batch.engine.broker import reached
from archon_batch.engine.chords import send_advance
from archon_batch.engine.process import Process
from archon_batch.store import Job, Store


def start(store: Store, job: Job, part: int = 0, of: int = 1) -> int:
    """Send a message for each line of shards with work left; return how many.

    A line is every ``width``-th shard: the end of one sends for the next, so that the broker holds
    as many shards as run at once, however long the dataset. A part of the lines has every shard
    that leaves ``part`` when divided by ``of``.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    reached()
    # Attempts of processes that are dead would hold calls back until they expire.
    store.recover()
    lines = 0
    width = max(of, job.width // of * of)
    for line in range(part, width, of):
        shard = store.items.next_shard(job.id, line, width)
        if shard is not None:
            send_advance(job, shard, width)
            lines += 1
    if not lines:
        finished(store, job.id)
    return lines


def conclude_rows(here: Process, job: Job) -> None:
    """End the rows that have all their replies, of a job whose joins no longer run here."""
    running = here.job(job.id)
    for shard in here.store.items.begun_shards(job.id):
        advance(here.store, running, shard)
    finished(here.store, job.id)
