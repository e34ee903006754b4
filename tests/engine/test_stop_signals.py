"""SIGHUP of a closing terminal or session: calls in flight finish, as on SIGTERM."""

import os
import signal
import subprocess
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

#: Runs a command as the leader of its terminal's session.
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
    """A command that leads the session of a new terminal, and the terminal's other end."""
    controller, terminal = os.openpty()
    command = Popen(
        [sys.executable, "-c", LEADER, *arguments], cwd=stage.folder, env=stage.environment,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    return command, controller


@pytest.mark.slow
def test_calls_in_flight_finish_when_the_command_s_terminal_closes(stage):
    with ProviderServer(prices=PRICES, latency=1.5) as provider:
        stage.architecture(provider.url, ONE)
        command, terminal = in_a_terminal(
            stage, "submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "labels",
            "--shard-size", "1", "--processes", "2",
        )  # fmt: skip
        until(lambda: provider.request_count >= 6)
        os.close(terminal)
        status = command.wait(60)
        found = stage.json("status", "labels")

    assert status == 130
    assert found["attempts_in_doubt"] == 0
    assert 6 <= found["answered"] == provider.request_count < 24
    assert stage.nano_usd("labels") == provider.bill


@pytest.mark.redis
@pytest.mark.parametrize("celery", [True, False], ids=["plain celery", "a pool"])
def test_calls_in_flight_finish_when_a_worker_gets_sighup_many_times(stage, redis_url, celery):
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
        stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "labels")
        with (stage.folder / "worker.log").open("w") as log:
            worker = Popen(
                [sys.executable, "-m", *started], cwd=stage.folder, env=stage.environment,
                stdout=log, stderr=log,
            )  # fmt: skip
        logged = (stage.folder / "worker.log").read_text
        until(lambda: provider.request_count >= 6)
        for _ in range(50):
            worker.send_signal(signal.SIGHUP)
        try:
            status = worker.wait(40)
        except subprocess.TimeoutExpired:
            # Celery logs where its threads are.
            worker.send_signal(signal.SIGUSR1)
            until(lambda: "LOCAL VARIABLES" in logged() or worker.poll() is not None, 10)
            pytest.fail(logged())
        found = stage.json("status", "labels")

    assert status == 0, logged()
    assert found["attempts_in_doubt"] == 0
    assert 6 <= found["calls"] == provider.request_count < 24


def test_a_signal_within_its_own_handler_is_ignored():
    depth = []

    def handle(number, _frame):
        depth.append(number)
        if len(depth) < 3:
            os.kill(os.getpid(), number)

    previous = signal.signal(signal.SIGUSR2, handle)
    try:
        stop_signals.forbid_nesting(signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        nested = list(depth)
        os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, previous)

    assert nested == [signal.SIGUSR2]
    assert len(depth) == 2


def test_a_signal_without_a_handler_keeps_its_default():
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL

    stop_signals.forbid_nesting(signal.SIGUSR2)

    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_sighup_ignored_by_nohup_stays_ignored(monkeypatch):
    monkeypatch.setattr(stop_signals, "_IGNORED", True)
    heard = []

    restore = stop_signals.handle_sighup(lambda *_: heard.append("hung up"))
    try:
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        restore()

    assert heard == []
