"""A pool: the worker processes of a pool file, each a plain ``celery worker``."""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

import structlog

from archon_batch.engine.app import settings
from archon_batch.files import PoolFile
from archon_batch.store import Store

_log = structlog.get_logger()

#: Seconds before a worker that died is started again, and between looks at them.
_AGAIN, _LOOK = 2.0, 0.2


def command(pool: PoolFile, name: str) -> list[str]:
    """The command line of one worker process."""
    return [
        sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
        "--pool", pool.pool,
        "--concurrency", str(pool.concurrency),
        "--queues", ",".join(pool.queues),
        "--hostname", f"{name}@%h",
        "--loglevel", settings.log,
        "--task-events",
    ]  # fmt: skip


def run(pool: PoolFile, name: str) -> int:
    """Run the pool's processes until SIGTERM or SIGINT; start again those that die before it."""
    # Refuse a database that cannot be used here, once, and not in every worker over and over.
    Store.open(settings.database_url).close()
    environment = dict(os.environ)
    if pool.max_in_flight is not None:
        environment["ARCHON_BATCH_MAX_IN_FLIGHT"] = str(pool.max_in_flight)
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def begin(index: int) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches the pool, which tells each worker once.
        line = command(pool, f"{name}-{index + 1}")
        return subprocess.Popen(line, env=environment, start_new_session=True)  # noqa: S603

    workers = [begin(index) for index in range(pool.processes)]
    while not stopping:
        time.sleep(_LOOK)
        for index, worker in enumerate(workers):
            if worker.poll() is not None and not stopping:
                _log.error("worker_died", worker=f"{name}-{index + 1}", status=worker.returncode)
                time.sleep(_AGAIN)
                workers[index] = begin(index)
    for worker in workers:
        worker.terminate()
    return max((abs(worker.wait()) for worker in workers), default=0)
