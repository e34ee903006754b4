"""The processes of a pool, as they are started."""

import pytest

from archon_batch.engine import pools
from archon_batch.files import PoolFile
from archon_batch.settings import Settings


def test_a_pool_s_process_is_a_plain_celery_worker():
    line = pools.command(PoolFile(queues=("calls", "calls.openai"), concurrency=8), "night-1")

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
    monkeypatch.setattr(pools, "settings", Settings(metrics=environment))
    pool = PoolFile(queues=("calls",), processes=3, metrics_port=port)

    assert pools.environment(pool, 2).get("ARCHON_BATCH_METRICS") == told


def test_a_pool_s_width_is_its_processes(monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_MAX_IN_FLIGHT", "7")

    own = pools.environment(PoolFile(queues=("calls",), max_in_flight=9), 0)
    other = pools.environment(PoolFile(queues=("calls",)), 0)

    assert own["ARCHON_BATCH_MAX_IN_FLIGHT"] == "9"
    assert other["ARCHON_BATCH_MAX_IN_FLIGHT"] == "7"
