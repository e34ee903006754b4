"""Three workers with their own broker, database and provider, all of which can be disturbed."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kombu import Connection, Queue

from archon_batch.store import Store
from benchmarks.wire import CuttableRedis
from tests.acceptance.servers import PostgresServer, RabbitServer, RedisServer, absent, serving
from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

#: Calls in flight per worker.
IN_FLIGHT = 16
#: Seconds that a worker is frozen or its link is cut: twice its lease.
OUTAGE_SECONDS = 40.0
_WORKERS = 3
#: What can be special about the first worker.
CLOCK_AHEAD, CUTTABLE_LINK = "ahead", "wired"


@dataclass
class Fleet:
    stage: Stage
    broker: RedisServer | RabbitServer
    database: PostgresServer
    provider: ProviderServer
    workers: list[subprocess.Popen[bytes]]

    def flush_broker(self) -> None:
        assert isinstance(self.broker, RedisServer)
        self.broker.client.flushall()

    def restart_broker(self) -> None:
        self.broker.stop()
        self.broker.start()

    def restart_database(self) -> None:
        for _ in range(3):
            self.database.restart_immediately()
            time.sleep(4)

    def kill_worker(self) -> None:
        self.workers[0].kill()

    def freeze_worker(self) -> None:
        self.workers[0].send_signal(signal.SIGSTOP)
        time.sleep(OUTAGE_SECONDS)
        self.workers[0].send_signal(signal.SIGCONT)

    def freeze_broker(self) -> None:
        """The broker accepts connections but does not answer."""
        self.broker.tell(signal.SIGSTOP)
        time.sleep(OUTAGE_SECONDS)
        self.broker.tell(signal.SIGCONT)

    def cut_link(self) -> None:
        """Silently drop all packets between the first worker and the broker."""
        assert isinstance(self.broker, CuttableRedis)
        self.broker.cut_link()
        time.sleep(OUTAGE_SECONDS)
        self.broker.restore_link()

    def lose_messages(self) -> None:
        """Delete all waiting messages for two seconds, like a crash between BRPOP and its bookkeeping."""
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if isinstance(self.broker, RabbitServer):
                with Connection(self.broker.url) as connection:
                    for queue in ("calls", "joins"):
                        Queue(queue, channel=connection.default_channel).purge()
            else:
                for key in self.broker.client.scan_iter("[cj]*"):
                    self.broker.client.delete(key)
            time.sleep(0.02)

    def lose_five_messages(self) -> None:
        """Delete the next few messages for calls, while many more wait."""
        if isinstance(self.broker, RabbitServer):
            with Connection(self.broker.url) as connection:
                queue = Queue("calls", channel=connection.default_channel)
                for _ in range(5):
                    queue.get(no_ack=True)
        else:
            for key in self.broker.client.scan_iter("calls*"):
                self.broker.client.rpop(key, 5)

    def duplicate_messages(self) -> None:
        """Duplicate all waiting messages."""
        assert isinstance(self.broker, RedisServer)
        for key in self.broker.client.scan_iter("[cj]*"):
            for message in self.broker.client.lrange(key, 0, -1):
                self.broker.client.rpush(key, message)


@contextmanager
def run_fleet(broker: str, rows: int, latency: float, first_worker: str = "") -> Iterator[Fleet]:
    """Run three workers with a dataset of that many rows.

    ``first_worker`` makes the first worker special: its clock is two hours ahead, or its link to the
    broker can be cut.
    """
    with ExitStack() as stack:
        server = _make_broker(broker, first_worker)
        if isinstance(server, CuttableRedis):
            stack.enter_context(server.network_namespace())
        database = PostgresServer()
        stack.enter_context(serving(server, database))
        provider = stack.enter_context(ProviderServer(prices=PRICES, latency=latency))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(
            folder,
            ARCHON_BATCH_BROKER_URL=server.url,
            ARCHON_BATCH_DATABASE_URL=database.url,
            ARCHON_BATCH_MAX_IN_FLIGHT=str(IN_FLIGHT),
            # A frozen worker must not wake up after the timeouts of its calls.
            ARCHON_BATCH_CALL_TIMEOUT="600",
            ARCHON_BATCH_SPOOL=str(folder / "spool"),
        )
        stage.dataset(rows)
        stage.architecture(provider.url)
        log = stack.enter_context((folder / "workers.log").open("w"))
        workers: list[subprocess.Popen[bytes]] = []
        stack.callback(_kill_workers, workers)
        for n in range(_WORKERS):
            line = [
                sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
                "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
                "--hostname", f"{n}@faults", "--loglevel", "warning",
            ]  # fmt: skip
            extra = _first_worker_environment(first_worker, server) if n == 0 else {}
            environment = {**stage.environment, **extra}
            workers.append(
                subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log)
            )
            if n == 0:
                _wait_until_leader(database.url)
        yield Fleet(stage, server, database, provider, workers)


def _make_broker(name: str, first_worker: str) -> RedisServer | RabbitServer:
    if first_worker == CUTTABLE_LINK:
        return CuttableRedis()
    return RedisServer() if name == "redis" else RabbitServer()


def _first_worker_environment(
    first_worker: str, broker: RedisServer | RabbitServer
) -> dict[str, str]:
    """The additional environment of the first worker."""
    if first_worker == CLOCK_AHEAD:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            absent("libfaketime is not installed")
        ahead = {"FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": str(library), **ahead}
    if isinstance(broker, CuttableRedis):
        return {"ARCHON_BATCH_BROKER_URL": broker.url_by_cuttable_link}
    return {}


def _wait_until_leader(url: str) -> None:
    """Wait until the first worker is the leader, the worst case for a fault."""
    store = Store.open(url)
    try:
        until(lambda: any(name.startswith("sweeper of") for name in store.leases.all()), 120)
    finally:
        store.close()


def _kill_workers(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()
