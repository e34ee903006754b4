"""Sets a job's shards going, and ends what can be ended of one that was halted."""

from archon_batch.advance import advance, finished
from archon_batch.engine import queues
from archon_batch.engine.broker import carrier, reached
from archon_batch.engine.chords import send_advance
from archon_batch.engine.process import Process
from archon_batch.store import Job, Store


def start(store: Store, job: Job) -> int:
    """Begin the job's lines of shards and send a message for each; return how many.

    A line goes from shard to shard, so that the broker holds as many as run at once, however long
    the dataset. Lines of before are over, and messages of theirs do nothing more.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    reached()
    # Attempts of processes that are dead would hold calls back until they expire.
    store.recover()
    turns = store.lines.begin(job.id, job.width, carrier(), queues.JOINS)
    for turn in turns:
        send_advance(job, turn)
    if not turns:
        finished(store, job.id)
    return len(turns)


def conclude_rows(here: Process, job: Job) -> None:
    """End the rows that have all their replies, of a job whose joins no longer run here."""
    running = here.job(job.id)
    for shard in here.store.items.begun_shards(job.id):
        advance(here.store, running, shard)
    finished(here.store, job.id)
