"""Runs the worker processes of a pool file, each a plain ``celery worker``."""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

import structlog

from archon_batch.config import PoolFile
from archon_batch.engine import stop_signals
from archon_batch.engine.app import settings
from archon_batch.engine.broker import check_broker
from archon_batch.errors import BrokerUnavailableError
from archon_batch.store import Store

_log = structlog.get_logger()

#: Seconds between two checks that the workers live.
_POLL_INTERVAL = 0.2


def worker_command(pool: PoolFile, name: str) -> list[str]:
    """The command line of one worker process."""
    return [
        sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
        "--pool", pool.pool,
        "--concurrency", str(pool.concurrency),
        "--queues", ",".join(pool.queues),
        "--hostname", f"{name}@%h",
        "--loglevel", settings.log_level,
        "--task-events",
    ]  # fmt: skip


def worker_environment(pool: PoolFile, index: int) -> dict[str, str]:
    """The environment of the pool's process number ``index``, counted from 0."""
    variables = dict(os.environ)
    if pool.max_in_flight is not None:
        variables["ARCHON_BATCH_MAX_IN_FLIGHT"] = str(pool.max_in_flight)
    host, port = settings.metrics_address or ("127.0.0.1", pool.metrics_port)
    if port is not None:
        # Each process serves its own metrics, so each needs a port.
        variables["ARCHON_BATCH_METRICS"] = f"{host}:{(pool.metrics_port or port) + index}"
    return variables


class _WorkerPool:
    """The pool's processes, each in its own session: Ctrl-C reaches only this parent."""

    def __init__(self, pool: PoolFile, name: str) -> None:
        self._names = [f"{name}-{index + 1}" for index in range(pool.processes)]
        self._commands = [worker_command(pool, worker) for worker in self._names]
        self._environments = [worker_environment(pool, index) for index in range(pool.processes)]
        self._stopping = self._stop_requested = False
        self._workers: list[subprocess.Popen[bytes]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        stop_signals.handle_sighup(self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop the workers, whose calls in flight finish; a second signal, except SIGHUP, kills them."""
        again, self._stop_requested = (
            self._stop_requested,
            self._stop_requested or number != signal.SIGHUP,
        )
        for worker in self._workers:
            worker.kill() if again and number != signal.SIGHUP else worker.terminate()
        self._stopping = True

    def run(self) -> int:
        """Start every process and restart dead ones until stopped; return the worst exit status."""
        for index in range(len(self._names)):
            self._workers.append(self._start_worker(index))
        while not self._stopping:
            time.sleep(_POLL_INTERVAL)
            for index, worker in enumerate(self._workers):
                if worker.poll() is not None and not self._stopping:
                    _log.error("worker_died", worker=self._names[index], status=worker.returncode)
                    time.sleep(settings.timing.worker_restart)
                    self._workers[index] = self._start_worker(index)
        return max(abs(worker.wait()) for worker in self._workers)

    def _start_worker(self, index: int) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(  # noqa: S603
            self._commands[index], env=self._environments[index], start_new_session=True
        )
        if self._stopping:
            # The stop signal arrived while this worker was starting, and did not reach it.
            worker.terminate()
        return worker


def run_pool(pool: PoolFile, name: str) -> int:
    """Run the pool's processes until SIGTERM, SIGINT or SIGHUP; return their worst status.

    An unusable database or broker is reported here once, instead of by every worker again and again.
    For a broker that is unreachable, the workers wait.

    Raises:
        StoreError: the database is unreachable or unusable.
        BrokerError: the broker refuses.
    """
    Store.open(settings.database_url).close()
    try:
        check_broker()
    except BrokerUnavailableError as error:
        _log.warning("broker_unreachable", why=str(error))
    return _WorkerPool(pool, name).run()
