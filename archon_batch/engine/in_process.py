"""The engine inside the process of a command: no server, the same tasks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from archon_batch.engine import queues, runtime
from archon_batch.engine.app import app
from archon_batch.engine.runtime import Runtime
from archon_batch.errors import EngineError

#: Batches at once; each is a thread that mostly waits.
_CALL_THREADS = 64
_PLANNING_THREADS = 4
#: Seconds that a worker may take to start; it takes a tenth of one.
_START_TIMEOUT = 30


@contextmanager
def in_process_workers(here: Runtime) -> Iterator[None]:
    """Run workers for both queues in threads of this process while the body runs.

    At the end no new call is begun, and those in flight land.
    """
    runtime.install(here)
    threads: list[threading.Thread] = []
    try:
        for queue, concurrency in (
            (queues.CALLS, _CALL_THREADS),
            (queues.PLANNING, _PLANNING_THREADS),
        ):
            threads.append(_start_worker(queue, concurrency))
        yield
    finally:
        here.stop()
        app.control.shutdown()
        for thread in threads:
            thread.join()
        runtime.install(None)


def _start_worker(queue: str, concurrency: int) -> threading.Thread:
    """A worker that consumes already: the next one changes which queues the app selects."""
    ready = threading.Event()
    worker = app.WorkController(
        hostname=f"{queue}@embedded",
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
