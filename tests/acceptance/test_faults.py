"""Brokers that lose messages, workers that freeze: every row is answered without an operator."""

import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from archon_batch.store import Store
from tests.acceptance.servers import PostgresServer, RedisServer, absent, serving
from tests.acceptance.stage import PRICES, Stage, until
from tests.fork_server import Popen
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(400)

ROWS, CALLS = 24, 8

#: A worker with a timing of its own.
WORKER = """\
import json, sys
from dataclasses import replace
from archon_batch.engine import app as engine
from archon_batch.settings import Timing
engine.settings = replace(engine.settings, timing=Timing(**json.loads(sys.argv[1])))
engine.app.worker_main([
    "worker", "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
    "--hostname", sys.argv[2], "--without-mingle", "--without-gossip", "--loglevel", "warning",
])
"""


@contextmanager
def workers(stage: Stage, count: int, process_lease: float = 20.0) -> Iterator[list[Popen[str]]]:
    """Workers of both queues, which ``kill -9`` ends."""
    timing = {
        "watchdog_interval": 1.0,
        "process_lease": process_lease,
        "leader_lease": process_lease / 2,
        "stalled_after": 4.0,
    }
    with (stage.folder / "workers.log").open("w") as log:
        started = [
            Popen(
                [sys.executable, "-c", WORKER, json.dumps(timing), f"{n}@test"],
                cwd=stage.folder, env=stage.environment, stdout=log, stderr=log,
            )
            for n in range(count)
        ]  # fmt: skip
        try:
            yield started
        finally:
            for worker in started:
                worker.kill()
                worker.wait()


def _stage(folder: Path, provider: ProviderServer, broker: str, database: str) -> Stage:
    stage = Stage(
        folder,
        ARCHON_BATCH_BROKER_URL=broker,
        ARCHON_BATCH_DATABASE_URL=database,
        ARCHON_BATCH_LOG="debug",
        ARCHON_BATCH_MAX_IN_FLIGHT="8",
    )
    stage.dataset(ROWS)
    stage.architecture(provider.url)
    return stage


def _submitted(stage: Stage) -> str:
    return stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--shard-size", "4").strip()


def _living(database: str) -> int:
    store = Store.open(database)
    try:
        return len(store.workers.all())
    finally:
        store.close()


def _done(stage: Stage, job: str, seconds: float = 200) -> dict[str, Any]:
    """The status of the job when it is done, by itself."""
    follow = stage.start("status", job, "--follow")
    try:
        follow.communicate(timeout=seconds)
    finally:
        follow.kill()
    found: dict[str, Any] = stage.json("status", job)
    log = (stage.folder / "workers.log").read_text()
    assert (found["state"], found["answered"]) == ("done", ROWS), log[-9000:]
    return found


@pytest.mark.redis
@pytest.mark.postgres
def test_a_redis_emptied_during_a_run_costs_nothing(tmp_path: Path, postgres_url: str) -> None:
    with ProviderServer(prices=PRICES, latency=0.05) as provider, serving(server := RedisServer()):
        stage = _stage(tmp_path, provider, server.url, postgres_url)
        job = _submitted(stage)
        with workers(stage, 2):
            until(lambda: provider.request_count >= 24, 150)
            server.client.flushall()
            until(lambda: provider.request_count >= 72, 150)
            server.stop()
            server.start()
            status = _done(stage, job)

    assert status["attempts_in_doubt"] == 0
    assert provider.request_count == ROWS * CALLS
    assert stage.nano_usd(job) == provider.bill


@pytest.mark.redis
@pytest.mark.postgres
def test_lost_and_duplicate_messages_change_nothing(tmp_path: Path, postgres_url: str) -> None:
    with ProviderServer(prices=PRICES, latency=0.02) as provider, serving(server := RedisServer()):
        stage = _stage(tmp_path, provider, server.url, postgres_url)
        job = _submitted(stage)
        (queue,) = server.client.keys("joins*")
        # As between BRPOP and the note of it; and as a broker that gives a message back too early.
        server.client.rpop(queue)
        for message in server.client.lrange(queue, 0, -1):
            server.client.lpush(queue, message)
        before = server.client.llen(queue)
        with workers(stage, 2):
            status = _done(stage, job)

    assert before == 2 * (ROWS // 4 - 1)
    assert status["attempts"] == provider.request_count == ROWS * CALLS
    assert stage.nano_usd(job) == provider.bill


@pytest.mark.redis
@pytest.mark.postgres
def test_a_worker_started_before_its_database_recovers_once_it_is_available(
    tmp_path: Path, redis_url: str
) -> None:
    database = PostgresServer()
    with ProviderServer(prices=PRICES, latency=0.02) as provider, serving(database):
        stage = _stage(tmp_path, provider, redis_url, database.url)
        job = _submitted(stage)
        database.stop(signal.SIGINT)
        Redis.from_url(redis_url).flushdb()
        with workers(stage, 1):
            until(lambda: "waiting_for_database" in (tmp_path / "workers.log").read_text(), 100)
            database.start()
            status = _done(stage, job)

    assert status["attempts"] == provider.request_count == ROWS * CALLS


@pytest.mark.redis
@pytest.mark.postgres
def test_a_job_continues_without_a_frozen_worker_which_may_come_back(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    with ProviderServer(prices=PRICES, latency=0.3) as provider:
        stage = _stage(tmp_path, provider, redis_url, postgres_url)
        # Longer than it is frozen: its answers are there when it wakes.
        stage.environment["ARCHON_BATCH_CALL_TIMEOUT"] = "600"
        with workers(stage, 2, process_lease=5.0) as (one, _):
            # One that has only just come would be frozen with nothing in flight.
            until(lambda: _living(postgres_url) == 2, 150)
            job = _submitted(stage)
            until(lambda: provider.request_count >= 32, 150)
            one.send_signal(signal.SIGSTOP)
            status = _done(stage, job)
            one.send_signal(signal.SIGCONT)
            # Its late results are recorded, and no call is sent twice for them.
            until(lambda: stage.json("status", job)["attempts_in_doubt"] == 0, 100)
        booked = stage.nano_usd(job)
        stage.run("verify", job)

    # At most what was in flight in the frozen one was paid for twice.
    assert provider.request_count - ROWS * CALLS == status["attempts"] - ROWS * CALLS
    assert 0 < status["attempts"] - ROWS * CALLS <= 8
    assert booked == provider.bill


@pytest.mark.redis
@pytest.mark.postgres
def test_a_worker_with_a_clock_two_hours_ahead_does_no_harm(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        absent("no libfaketime on this machine")
    with ProviderServer(prices=PRICES, latency=0.2) as provider:
        stage = _stage(tmp_path, provider, redis_url, postgres_url)
        job = _submitted(stage)
        ahead = {"LD_PRELOAD": str(library), "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with workers(stage, 1):
            stage.environment |= ahead
            with workers(stage, 1):
                for name in ahead:
                    del stage.environment[name]
                status = _done(stage, job)

    assert status["attempts_in_doubt"] == 0
    assert status["attempts"] == provider.request_count == ROWS * CALLS


def _answers(stage: Stage, job: str) -> list[dict[str, Any]]:
    """What was answered and paid, row by row; only how long it took may differ."""
    rows = [json.loads(line) for line in stage.run("export", job).splitlines()]
    return [{**row, "seconds": None} for row in rows]


@pytest.fixture
def rabbit_url() -> Iterator[str]:
    """A virtual host of the test's own."""
    control = shutil.which("rabbitmqctl") or absent("no RabbitMQ on this machine")
    name = f"archon_{uuid.uuid4().hex}"

    def told(*words: str) -> bool:
        return not subprocess.run(
            [control, "-q", *words], capture_output=True, check=False
        ).returncode

    if not told("add_vhost", name) or not told(
        "set_permissions", "-p", name, "guest", ".*", ".*", ".*"
    ):
        absent("RabbitMQ takes no orders here")
    yield f"amqp://guest:guest@127.0.0.1:5672/{name}"
    told("delete_vhost", name)


@pytest.mark.postgres
def test_workers_over_rabbitmq_need_no_redis_and_give_the_same_answers_as_one_machine(
    tmp_path: Path, rabbit_url: str, postgres_url: str
) -> None:
    (tmp_path / "one").mkdir()
    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        many = _stage(tmp_path, provider, rabbit_url, postgres_url)
        one = Stage(tmp_path / "one")
        one.dataset(ROWS)
        one.architecture(provider.url)
        alone = one.run(
            "submit", "rows.jsonl", "--arch", "layered.yaml", "--shard-size", "4"
        ).strip()
        billed = provider.bill
        job = _submitted(many)
        with workers(many, 2):
            _done(many, job)

    assert _answers(many, job) == _answers(one, alone)
    assert many.nano_usd(job) == provider.bill - billed == one.nano_usd(alone)
