"""A job run without a queue, round by round in this process."""

from archon_batch.engine.runtime import Process
from archon_batch.jobs import shard_step as road
from archon_batch.store import Job


def rehearse(here: Process, job: Job) -> Job:
    """Run the job's first shard until nothing is missing, or until it is halted."""
    running = here.job(job.id)
    while here.store.jobs.get(job.id).state == "running" and not here.stopping:
        missing = road.advance(here.store, running, 0)
        if not missing.batches:
            here.store.jobs.move(job.id, "done", only_from=["running"])
        for batch in missing.batches:
            here.place(running, road.missing(here.store, running, batch))
    return here.store.jobs.get(job.id)
