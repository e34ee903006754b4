"""The processes of a pool, as they are started, and what comes of their deaths and of orders."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs

from archon_batch.config import PoolFile
from archon_batch.engine import worker_pool
from archon_batch.settings import Settings
from tests.acceptance.servers import RedisServer, serving
from tests.acceptance.stage import Stage, until


def test_a_pool_s_process_is_a_plain_celery_worker():
    line = worker_pool.worker_command(
        PoolFile(queues=("calls", "calls.openai"), concurrency=8), "night-1"
    )

    assert line[1:6] == ["-m", "celery", "-A", "archon_batch.engine.app", "worker"]
    told = dict(zip(line[6:-1:2], line[7::2], strict=False))
    assert told["--queues"] == "calls,calls.openai"
    assert (told["--pool"], told["--concurrency"]) == ("threads", "8")
    assert told["--hostname"] == "night-1@%h"


@pytest.mark.parametrize(
    ("environment", "port", "told"),
    [
        (None, None, None),
        (None, 9464, "127.0.0.1:9466"),
        (("0.0.0.0", 9000), None, "0.0.0.0:9002"),
        (("0.0.0.0", 9000), 9464, "0.0.0.0:9466"),
    ],
)
def test_each_process_has_a_port_of_its_own_for_its_metrics(monkeypatch, environment, port, told):
    monkeypatch.setattr(worker_pool, "settings", Settings(metrics_address=environment))
    pool = PoolFile(queues=("calls",), processes=3, metrics_port=port)

    assert worker_pool.worker_environment(pool, 2).get("ARCHON_BATCH_METRICS") == told


def test_a_pool_s_width_is_its_processes(monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_MAX_IN_FLIGHT", "7")

    own = worker_pool.worker_environment(PoolFile(queues=("calls",), max_in_flight=9), 0)
    other = worker_pool.worker_environment(PoolFile(queues=("calls",)), 0)

    assert own["ARCHON_BATCH_MAX_IN_FLIGHT"] == "9"
    assert other["ARCHON_BATCH_MAX_IN_FLIGHT"] == "7"


#: Writes down its name and its session; the first of them dies, the others do not go when asked.
WORKS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", file=open("asked", "a"), flush=True))
with open("begun", "a+") as begun:
    begun.seek(0)
    first = not begun.read()
    print(os.getpid(), os.getsid(0), file=begun)
while not first:
    time.sleep(0.05)
sys.exit(7)
"""


@pytest.fixture
def signals():
    """What this process does when it is signalled, put back at the end."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_what_dies_is_started_again_and_a_second_order_kills_what_does_not_end(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker_pool, "_RESTART_DELAY", 0.0)
    monkeypatch.setattr(worker_pool, "worker_command", lambda *_: [sys.executable, "-c", WORKS])
    pool = worker_pool._WorkerPool(PoolFile(queues=("calls",)), "night")

    def begun():
        file = tmp_path / "begun"
        return file.read_text().splitlines() if file.exists() else []

    def orders():
        until(lambda: len(begun()) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        until((tmp_path / "asked").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    told = threading.Thread(target=orders)
    told.start()
    with capture_logs() as logs:
        status = pool.run()
    told.join()

    assert [(log["event"], log["worker"], log["status"]) for log in logs] == [
        ("worker_died", "night-1", 7)
    ]
    # Of a session of its own: neither Ctrl-C nor the end of the pool's own process reaches it.
    assert [line.split()[0] for line in begun()] == [line.split()[1] for line in begun()]
    assert status == signal.SIGKILL


@pytest.mark.redis
def test_a_broker_that_refuses_its_login_ends_the_pool_at_once(tmp_path):
    with serving(server := RedisServer()):
        server.client.config_set("requirepass", "word")
        stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=server.url)
        stage.write("pool.yaml", "queues: [calls]\n")
        worker = stage.start("worker", "pool.yaml")
        _, err = worker.communicate(timeout=60)

    assert worker.returncode == 3, err
    assert err.startswith("error: broker redis://")
    assert "correct user and password" in err
    assert "worker_died" not in err


def test_plain_celery_reads_no_env_file(tmp_path):
    (tmp_path / ".env").write_text("ARCHON_BATCH_MAX_IN_FLIGHT=7\n")
    reads = "from archon_batch.engine.app import settings; print(settings.max_in_flight)"
    line = [sys.executable, "-c", reads]

    told = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert int(told) == Settings().max_in_flight != 7
