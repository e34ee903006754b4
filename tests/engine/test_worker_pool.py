"""The processes of a pool: how they start, die and stop."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs

from archon_batch.config import PoolFile
from archon_batch.engine import worker_pool
from archon_batch.settings import Settings, Timing
from tests.acceptance.servers import RedisServer, serving
from tests.acceptance.stage import Stage, until


def test_a_pool_process_is_a_plain_celery_worker():
    line = worker_pool.worker_command(
        PoolFile(queues=("calls", "calls.openai"), concurrency=8), "labels-1"
    )

    assert line[1:6] == ["-m", "celery", "-A", "archon_batch.engine.app", "worker"]
    options = dict(zip(line[6:-1:2], line[7::2], strict=False))
    assert options["--queues"] == "calls,calls.openai"
    assert (options["--pool"], options["--concurrency"]) == ("threads", "8")
    assert options["--hostname"] == "labels-1@%h"


@pytest.mark.parametrize(
    ("environment", "port", "address"),
    [
        (None, None, None),
        (None, 9464, "127.0.0.1:9466"),
        (("0.0.0.0", 9000), None, "0.0.0.0:9002"),
        (("0.0.0.0", 9000), 9464, "0.0.0.0:9466"),
    ],
)
def test_each_process_has_its_own_metrics_port(monkeypatch, environment, port, address):
    monkeypatch.setattr(worker_pool, "settings", Settings(metrics_address=environment))
    pool = PoolFile(queues=("calls",), processes=3, metrics_port=port)

    assert worker_pool.worker_environment(pool, 2).get("ARCHON_BATCH_METRICS") == address


def test_a_pool_s_max_in_flight_overrides_the_setting(monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_MAX_IN_FLIGHT", "7")

    own = worker_pool.worker_environment(PoolFile(queues=("calls",), max_in_flight=9), 0)
    other = worker_pool.worker_environment(PoolFile(queues=("calls",)), 0)

    assert own["ARCHON_BATCH_MAX_IN_FLIGHT"] == "9"
    assert other["ARCHON_BATCH_MAX_IN_FLIGHT"] == "7"


#: Records its process id and its session; the first one dies, later ones ignore SIGTERM.
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
    """Restores this process's signal handlers at the end."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_dead_worker_is_restarted_and_a_second_signal_kills_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker_pool, "settings", Settings(timing=Timing(worker_restart=0.0)))
    monkeypatch.setattr(worker_pool, "worker_command", lambda *_: [sys.executable, "-c", WORKS])
    pool = worker_pool._WorkerPool(PoolFile(queues=("calls",)), "labels")

    def begun():
        file = tmp_path / "begun"
        return file.read_text().splitlines() if file.exists() else []

    def stop_twice():
        until(lambda: len(begun()) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        until((tmp_path / "asked").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    signalling = threading.Thread(target=stop_twice)
    signalling.start()
    with capture_logs() as logs:
        status = pool.run()
    signalling.join()

    assert [(log["event"], log["worker"], log["status"]) for log in logs] == [
        ("worker_died", "labels-1", 7)
    ]
    # In its own session: neither Ctrl-C nor the end of the pool's process reaches it.
    assert [line.split()[0] for line in begun()] == [line.split()[1] for line in begun()]
    assert status == signal.SIGKILL


@pytest.mark.redis
def test_a_refused_login_ends_the_pool_at_once(tmp_path):
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


@pytest.mark.slow
def test_plain_celery_reads_no_env_file(tmp_path):
    (tmp_path / ".env").write_text("ARCHON_BATCH_MAX_IN_FLIGHT=7\n")
    reads = "from archon_batch.engine.app import settings; print(settings.max_in_flight)"
    line = [sys.executable, "-c", reads]

    printed = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert int(printed) == Settings().max_in_flight != 7
