"""Databases that are shared, read-only, full, or away for a while: nothing is lost, and it is said."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import PRICES, Stage
from tests.provider import Provider

pytestmark = pytest.mark.timeout(150)

SUBMIT = ("submit", "rows.jsonl", "--arch", "night.yaml", "--name", "night")
#: Calls of a row.
ROW = 8

#: The program with less patience: a second until a database is given up that is away.
HASTY = """\
import sys
from archon_batch.cli import main
from archon_batch.store import clerk
clerk._PATIENCE = 1.0
main(sys.argv[1:])
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(prices=PRICES, latency=0.05) as started:
        yield started


@pytest.fixture
def stage(tmp_path: Path, provider: Provider) -> Stage:
    stage = Stage(tmp_path)
    stage.dataset(12)
    stage.architecture(provider.url)
    return stage


def _told(process: subprocess.Popen[str], why: str) -> None:
    """The process ends with status 3, and its last words are one line that says why."""
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert err.splitlines()[-1] == f"error: database: {why}"
    assert "Traceback" not in err


def _whole(stage: Stage, provider: Provider, rows: int, job: str = "night") -> dict[str, Any]:
    """Every row is answered, and the bill is paid, or in doubt."""
    status: dict[str, Any] = stage.json("status", job)
    assert (status["state"], status["answered"]) == ("done", rows)
    assert (status["attempts"], status["in_flight_usd"]) == (provider.requests, 0)
    lost = provider.bill - stage.nano_usd(job)
    assert 0 <= lost <= round(status["in_doubt_usd"] * 10**9)
    return status


def test_four_jobs_at_once_on_one_sqlite_file_lose_no_update_and_see_no_lock(
    stage: Stage, provider: Provider
) -> None:
    names = [f"job-{n}" for n in range(4)]
    submits = [stage.start(*SUBMIT[:-1], name) for name in names]
    looks = [stage.start(*look) for look in [("status", "job-0", "--follow"), ("jobs",)]]
    said = [process.communicate(timeout=100) for process in [*submits, *looks]]

    assert [process.returncode for process in submits] == [0] * 4, said
    assert not [err for _, err in said if "locked" in err or "Traceback" in err]
    jobs = {job["name"]: job for job in stage.json("jobs")}
    assert [jobs[name]["answered"] for name in names] == [12] * 4
    assert provider.requests == 12 * ROW
    assert sum(round(job["usd"] * 10**9) for job in jobs.values()) == provider.bill
