"""A job in several processes of one command: no call twice, and a dead process is replaced soon."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(300)

SUBMIT = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--shard-size", "2", "--processes", "2")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    # Few at once, so that the first process is not done before the second is there.
    stage = Stage(tmp_path, ARCHON_BATCH_MAX_IN_FLIGHT="8")
    stage.dataset(32)
    return stage


def owners(stage: Stage) -> set[int]:
    """The processes that have sent something."""
    with sqlite3.connect(stage.folder / "archon-batch.db") as database:
        found = database.execute("SELECT DISTINCT owner FROM attempts").fetchall()
    database.close()
    return {int(owner.split(":")[1]) for (owner,) in found}


def test_two_processes_share_a_job_and_pay_each_call_once(stage):
    with ProviderServer(prices=PRICES, latency=0.3) as provider:
        stage.architecture(provider.url)

        job = stage.run(*SUBMIT).strip()

        assert provider.request_count == 32 * 8
        assert stage.nano_usd(job) == provider.bill
    assert len(owners(stage)) == 2
    assert stage.json("status", job)["answered"] == 32


def test_the_cursors_of_a_dead_process_are_taken_over(stage):
    with ProviderServer(prices=PRICES, latency=0.3) as provider:
        stage.architecture(provider.url)
        command = stage.start(*SUBMIT)
        until(lambda: provider.request_count > 0 and len(owners(stage)) == 2, 120)
        (member,) = owners(stage) - {command.pid}

        os.kill(member, signal.SIGKILL)
        out, err = command.communicate(timeout=120)

        assert command.returncode == 0, err
        assert "process_died" in err
    figures = stage.json("status", out.strip())
    assert figures["answered"] == 32
    assert figures["attempts"] - figures["attempts_in_doubt"] == 32 * 8


def test_an_interrupt_lets_the_calls_of_all_processes_finish(stage):
    with ProviderServer(prices=PRICES, latency=0.3) as provider:
        stage.architecture(provider.url)
        command = stage.start(*SUBMIT)
        until(lambda: provider.request_count > 0 and len(owners(stage)) == 2, 120)

        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=120)

        assert command.returncode == 130, err
        figures = stage.json("status", out.strip())
        assert figures["attempts_in_doubt"] == 0
        assert figures["attempts"] == provider.request_count
        assert stage.nano_usd(out.strip()) == provider.bill


def test_a_direct_call_with_a_price_never_imports_litellm(stage):
    stage.dataset(1)
    with ProviderServer(prices=PRICES) as provider:
        stage.architecture(provider.url)
        stage.environment["PYTHONPROFILEIMPORTTIME"] = "1"

        command = stage.start(*SUBMIT[:4])
        _, err = command.communicate(timeout=100)

    assert command.returncode == 0
    assert "aiohttp" in err
    assert "litellm" not in err
