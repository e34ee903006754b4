"""Three workers with a broker, a database and a provider of their own, all of which can be harmed."""

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

#: Calls that a worker may have in flight.
IN_FLIGHT = 16
#: Seconds for which a worker is frozen, or its link is cut: twice its lease.
OUTAGE_SECONDS = 40.0
_WORKERS = 3
#: What ``Fleet`` can make of its first worker.
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
        """It takes connections and answers nothing."""
        self.broker.tell(signal.SIGSTOP)
        time.sleep(OUTAGE_SECONDS)
        self.broker.tell(signal.SIGCONT)

    def cut_link(self) -> None:
        """Let nothing pass between the first worker and the broker, and tell neither."""
        assert isinstance(self.broker, CuttableRedis)
        self.broker.cut_link()
        time.sleep(OUTAGE_SECONDS)
        self.broker.restore_link()

    def lose_messages(self) -> None:
        """Take whatever waits in two seconds, as between BRPOP and the note of it."""
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
        """Take the next few of those that wait for calls, while many others wait."""
        if isinstance(self.broker, RabbitServer):
            with Connection(self.broker.url) as connection:
                queue = Queue("calls", channel=connection.default_channel)
                for _ in range(5):
                    queue.get(no_ack=True)
        else:
            for key in self.broker.client.scan_iter("calls*"):
                self.broker.client.rpop(key, 5)

    def duplicate_messages(self) -> None:
        """Put everything that waits there once more."""
        assert isinstance(self.broker, RedisServer)
        for key in self.broker.client.scan_iter("[cj]*"):
            for message in self.broker.client.lrange(key, 0, -1):
                self.broker.client.rpush(key, message)


@contextmanager
def run_fleet(broker: str, rows: int, latency: float, first_worker: str = "") -> Iterator[Fleet]:
    """A fleet with a dataset of so many rows.

    ``first_worker`` is what is odd about the first worker: its clock is two hours ahead, or its link to
    the broker can be cut.
    """
    with ExitStack() as stack:
        carrier = _make_broker(broker, first_worker)
        if isinstance(carrier, CuttableRedis):
            stack.enter_context(carrier.network_namespace())
        database = PostgresServer()
        stack.enter_context(serving(carrier, database))
        provider = stack.enter_context(ProviderServer(prices=PRICES, latency=latency))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(
            folder,
            ARCHON_BATCH_BROKER_URL=carrier.url,
            ARCHON_BATCH_DATABASE_URL=database.url,
            ARCHON_BATCH_MAX_IN_FLIGHT=str(IN_FLIGHT),
            # A worker that wakes after its calls' time is over takes their answers for none.
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
            odd = _first_worker_environment(first_worker, carrier) if n == 0 else {}
            environment = {**stage.environment, **odd}
            workers.append(
                subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log)
            )
            if n == 0:
                _wait_until_leader(database.url)
        yield Fleet(stage, carrier, database, provider, workers)


def _make_broker(name: str, first_worker: str) -> RedisServer | RabbitServer:
    if first_worker == CUTTABLE_LINK:
        return CuttableRedis()
    return RedisServer() if name == "redis" else RabbitServer()


def _first_worker_environment(
    first_worker: str, broker: RedisServer | RabbitServer
) -> dict[str, str]:
    """What the first worker has in its environment that the others have not."""
    if first_worker == CLOCK_AHEAD:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            absent("no libfaketime on this machine")
        ahead = {"FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": str(library), **ahead}
    if isinstance(broker, CuttableRedis):
        return {"ARCHON_BATCH_BROKER_URL": broker.url_by_cuttable_link}
    return {}


def _wait_until_leader(url: str) -> None:
    """The first worker is to be the leader: that it is harmed is the worst case."""
    store = Store.open(url)
    try:
        until(lambda: any(name.startswith("sweeper of") for name in store.leases.all()), 120)
    finally:
        store.close()


def _kill_workers(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()
