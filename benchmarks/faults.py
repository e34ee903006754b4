"""The same job under every fault: ``python -m benchmarks.faults --rows 1000``.

Each line of the table is one run of the job by three workers, with servers of its own, and with one
fault in the middle. ``gap`` is the longest time in which the provider heard nothing from the fault
on: what recovery took. Nobody resumes anything. Every run has to answer every row as one process on
SQLite does, and its ledger has to have every line of the provider's books.
"""

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.servers import PostgresServer, RabbitServer, RedisServer, Served, serving
from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import Provider

CALLS = 8
WORKERS = 3
_LONGEST = 1800.0


@dataclass
class World:
    """A stage with its servers, its workers and its provider."""

    stage: Stage
    broker: RedisServer | RabbitServer
    database: PostgresServer
    provider: Provider
    workers: list[subprocess.Popen[bytes]]

    def flush(self) -> None:
        assert isinstance(self.broker, RedisServer)
        self.broker.client.flushall()

    def restart_broker(self) -> None:
        self.broker.stop()
        self.broker.start()

    def restart_database(self) -> None:
        for _ in range(3):
            self.database.restart_immediately()
            time.sleep(4)

    def kill(self) -> None:
        self.workers[0].kill()

    def freeze(self) -> None:
        self.workers[0].send_signal(signal.SIGSTOP)

    def lose(self) -> None:
        """Take whatever waits, as between BRPOP and the note of it."""
        assert isinstance(self.broker, RedisServer)
        for _ in range(100):
            for key in self.broker.client.scan_iter("[cj]*"):
                self.broker.client.delete(key)
            time.sleep(0.02)

    def repeat(self) -> None:
        """Put everything that waits there once more."""
        assert isinstance(self.broker, RedisServer)
        for key in self.broker.client.scan_iter("[cj]*"):
            for message in self.broker.client.lrange(key, 0, -1):
                self.broker.client.rpush(key, message)


FAULTS: dict[str, Callable[[World], None]] = {
    "none": lambda _: None,
    "FLUSHALL": World.flush,
    "broker killed": World.restart_broker,
    "database killed x 3": World.restart_database,
    "worker killed": World.kill,
    "worker frozen": World.freeze,
    "messages lost": World.lose,
    "messages twice": World.repeat,
}
#: What can be done to RabbitMQ from here.
OVER_RABBIT = ("none", "broker killed", "database killed x 3", "worker killed", "worker frozen")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--latency", type=float, default=0.1, help="of a call, in seconds")
    options.add_argument("--brokers", nargs="+", default=["redis", "rabbit"])
    options.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    given = options.parse_args()
    print(
        f"{'broker':<8} {'fault':<20} {'answered':>8} {'requests':>8} {'in doubt':>8} {'gap s':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        expected = _alone(Path(folder), given.rows)
    for broker in given.brokers:
        for fault in given.faults:
            if broker == "rabbit" and fault not in OVER_RABBIT:
                continue
            with _world(broker, given.rows, given.latency) as world:
                line = _run(world, fault, given.rows, expected)
            print(f"{broker:<8} {fault:<20} {line}", flush=True)


def _alone(folder: Path, rows: int) -> Sequence[str]:
    """The answers of one process."""
    stage = Stage(folder)
    stage.dataset(rows)
    with Provider(prices=PRICES) as provider:
        stage.architecture(provider.url)
        command = stage.start("submit", "rows.jsonl", "--arch", "night.yaml", "-o", "out.jsonl")
        _, err = command.communicate(timeout=_LONGEST)
    assert command.returncode == 0, err
    return [row["answer"] for row in stage.lines("out.jsonl")]


@contextmanager
def _world(broker: str, rows: int, latency: float) -> Iterator[World]:
    with ExitStack() as stack:
        carrier = RedisServer() if broker == "redis" else RabbitServer()
        database = PostgresServer()
        servers: tuple[Served, ...] = (carrier, database)
        stack.enter_context(serving(*servers))
        provider = stack.enter_context(Provider(prices=PRICES, latency=latency))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(
            folder,
            ARCHON_BATCH_BROKER_URL=carrier.url,
            ARCHON_BATCH_DATABASE_URL=database.url,
            ARCHON_BATCH_MAX_IN_FLIGHT="16",
        )
        stage.dataset(rows)
        stage.architecture(provider.url)
        log = stack.enter_context((folder / "workers.log").open("w"))
        workers: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, workers)
        for n in range(WORKERS):
            line = [
                sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
                "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
                "--hostname", f"{n}@faults", "--loglevel", "warning",
            ]  # fmt: skip
            workers.append(
                subprocess.Popen(line, cwd=folder, env=stage.environment, stdout=log, stderr=log)
            )
        yield World(stage, carrier, database, provider, workers)


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()


def _run(world: World, fault: str, rows: int, expected: Sequence[str]) -> str:
    stage, provider = world.stage, world.provider
    job = stage.run("submit", "rows.jsonl", "--arch", "night.yaml").strip()
    until(lambda: provider.requests >= rows * CALLS // 4, _LONGEST)
    at = time.time()
    FAULTS[fault](world)
    until(lambda: stage.json("status", job)["state"] != "running", _LONGEST)
    if fault == "worker frozen":
        world.workers[0].send_signal(signal.SIGCONT)
        until(lambda: stage.json("status", job)["attempts_in_doubt"] == 0, _LONGEST)
    status = stage.json("status", job)
    stage.run("verify", job)
    stage.run("export", job, "-o", "out.jsonl")
    assert [row["answer"] for row in stage.lines("out.jsonl")] == expected, "other answers"
    assert status["attempts"] >= provider.requests, "requests that the ledger does not know"
    heard = [at, *(entry.time for entry in provider.entries if entry.time > at)]
    gap = max((b - a for a, b in itertools.pairwise(heard)), default=0.0)
    return f"{status['answered']:>8} {provider.requests:>8} {status['attempts_in_doubt']:>8} {gap:>6.1f}"


if __name__ == "__main__":
    main()
