"""Sets a job's shards going, and ends what can be ended of one that was halted."""

from archon_batch.advance import advance, finished
from archon_batch.engine.broker import reached
from archon_batch.engine.chords import send_advance
from archon_batch.engine.process import Process
from archon_batch.store import Job, Store


def start(store: Store, job: Job) -> int:
    """Send a message for each line of shards with work left; return how many.

    A line is every ``width``-th shard: the end of one sends for the next, so that the broker holds
    as many shards as run at once, however long the dataset.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    reached()
    # Attempts of processes that are dead would hold calls back until they expire.
    store.recover()
    lines = 0
    for line in range(job.width):
        shard = store.items.next_shard(job.id, line, job.width)
        if shard is not None:
            send_advance(job, shard, job.width)
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
