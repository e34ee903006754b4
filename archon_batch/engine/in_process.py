"""The engine inside one process, without a broker: Celery workers in threads, or no queue at all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from archon_batch.engine import queues, runtime
from archon_batch.engine.app import app
from archon_batch.engine.runtime import Runtime
from archon_batch.errors import EngineError
from archon_batch.jobs import shard_step
from archon_batch.store import Job

#: Batches at once; each takes a thread that mostly waits.
_CALL_THREADS = 64
_PLANNING_THREADS = 4
#: Seconds that a worker may take to start; it takes 0.1.
_START_TIMEOUT = 30


@contextmanager
def in_process_workers(process: Runtime) -> Iterator[None]:
    """Run workers for both queues in threads of this process while the body runs.

    At the end, no new call starts, and calls in flight finish.
    """
    runtime.install(process)
    threads: list[threading.Thread] = []
    try:
        for queue, concurrency in (
            (queues.CALLS, _CALL_THREADS),
            (queues.PLANNING, _PLANNING_THREADS),
        ):
            threads.append(_start_worker(queue, concurrency))
        yield
    finally:
        process.stop()
        app.control.shutdown()
        for thread in threads:
            thread.join()
        runtime.install(None)


def run_first_shard(process: Runtime, job: Job) -> Job:
    """Run the job's first shard round by round, without a queue, until it is done or halted."""
    frozen = process.job(job.id)
    while process.store.jobs.get(job.id).state == "running" and not process.stopping:
        step = shard_step.advance_shard(process.store, frozen, 0)
        if not step.batch_keys:
            process.store.jobs.change_state(job.id, "done", from_states=["running"])
        for batch in step.batch_keys:
            process.execute_calls(frozen, shard_step.missing_calls(process.store, frozen, batch))
    return process.store.jobs.get(job.id)


def _start_worker(queue: str, concurrency: int) -> threading.Thread:
    """Start a worker, and wait until it consumes: starting the next one changes the app's queues."""
    ready = threading.Event()
    worker = app.WorkController(
        hostname=f"{queue}@in-process",
        queues=[queue],
        pool_cls="threads",
        concurrency=concurrency,
        ready_callback=lambda _consumer: ready.set(),
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )
    thread = threading.Thread(target=worker.start, name=f"worker-{queue}", daemon=True)
    thread.start()
    if not ready.wait(_START_TIMEOUT):
        raise EngineError(f"the in-process worker for {queue} did not start")
    return thread
