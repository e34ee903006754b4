"""A terminal or a session that goes away: calls in flight land, as on SIGTERM."""

import os
import signal
import sys

import pytest

from archon_batch.engine import stop_signals
from tests.acceptance.stage import PRICES, Stage, until
from tests.fork_server import Popen
from tests.provider import ProviderServer

ONE = """\
models: {{m: {{model: openai/stand-in, api_base: "{url}", price: {{input: {input}, output: {output}}}}}}}
layers: [{{type: generator, model: m}}]
"""

#: A command whose session has its terminal.
LEADER = """\
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from archon_batch.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path, ARCHON_BATCH_MAX_IN_FLIGHT="6", ARCHON_BATCH_LOG="debug")
    made.dataset(24)
    return made


def in_a_terminal(stage, *arguments):
    """A command that leads the session of a terminal of its own, and the terminal's other end."""
    ours, theirs = os.openpty()
    command = Popen(
        [sys.executable, "-c", LEADER, *arguments], cwd=stage.folder, env=stage.environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return command, ours


def test_calls_land_when_the_terminal_of_their_command_goes(stage):
    with ProviderServer(prices=PRICES, latency=1.5) as provider:
        stage.architecture(provider.url, ONE)
        command, terminal = in_a_terminal(
            stage, "submit", "rows.jsonl", "--arch", "night.yaml", "--name", "night",
            "--shard", "1", "--processes", "2",
        )  # fmt: skip
        until(lambda: provider.request_count >= 6)
        os.close(terminal)
        status = command.wait(60)
        found = stage.json("status", "night")

    assert status == 130
    assert found["attempts_in_doubt"] == 0
    assert 6 <= found["answered"] == provider.request_count < 24
    assert stage.nano_usd("night") == provider.bill


@pytest.mark.redis
@pytest.mark.parametrize("celery", [True, False], ids=["plain celery", "a pool"])
def test_calls_land_when_a_worker_is_hung_up_on_more_than_once(stage, redis_url, celery):
    stage.environment |= {"ARCHON_BATCH_BROKER_URL": redis_url}
    pool = stage.write("pool.yaml", "queues: [calls, joins]\nconcurrency: 8\n")
    started = (
        ["celery", "-A", "archon_batch.engine.app", "worker", "--pool", "threads", "--concurrency",
         "8", "--queues", "calls,joins"]
        if celery
        else ["archon_batch", "worker", str(pool)]
    )  # fmt: skip
    with ProviderServer(prices=PRICES, latency=1.5) as provider:
        stage.architecture(provider.url, ONE)
        stage.run("submit", "rows.jsonl", "--arch", "night.yaml", "--name", "night")
        with (stage.folder / "worker.log").open("w") as log:
            worker = Popen(
                [sys.executable, "-m", *started], cwd=stage.folder, env=stage.environment,
                stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: provider.request_count >= 6)
        for _ in range(2):
            worker.send_signal(signal.SIGHUP)
        status = worker.wait(60)
        found = stage.json("status", "night")

    assert status == 0, (stage.folder / "worker.log").read_text()
    assert found["attempts_in_doubt"] == 0
    assert 6 <= found["calls"] == provider.request_count < 24


def test_what_nohup_has_ignored_stays_ignored(monkeypatch):
    monkeypatch.setattr(stop_signals, "_IGNORED", True)
    heard = []

    undo = stop_signals.handle_sighup(lambda *_: heard.append("hung up"))
    try:
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        undo()

    assert heard == []
