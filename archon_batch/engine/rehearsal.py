"""A job run without a queue, round by round in this process."""

from archon_batch.engine.runtime import Runtime
from archon_batch.jobs import shard_step as road
from archon_batch.store import Job


def run_first_shard(runtime: Runtime, job: Job) -> Job:
    """Run the job's first shard until nothing is missing, or until it is halted."""
    running = runtime.job(job.id)
    while runtime.store.jobs.get(job.id).state == "running" and not runtime.stopping:
        missing = road.advance_shard(runtime.store, running, 0)
        if not missing.batch_keys:
            runtime.store.jobs.change_state(job.id, "done", from_states=["running"])
        for batch in missing.batch_keys:
            runtime.execute_calls(running, road.missing_calls(runtime.store, running, batch))
    return runtime.store.jobs.get(job.id)
