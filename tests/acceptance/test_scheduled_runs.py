"""Scheduled runs, by the commands that cron and an operator start."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.acceptance.test_many_machines import POOLS
from tests.fork_server import Popen
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(120)

JOB = """\
dataset: data/{date}.jsonl
architecture: layered.yaml
name: labels-{date}
budget_usd: 5
when: "* * * * *"
export: out/{name}.jsonl
on_failure: [PYTHON, tell.py]
"""

#: Writes a line of what it is told.
TELL = """\
import json, os
said = {k: os.environ["ARCHON_BATCH_" + k] for k in ("JOB", "NAME", "STATE", "REASON", "DATE")}
with open("told.jsonl", "a") as file:
    file.write(json.dumps(said) + "\\n")
"""

ARCH = """\
name: layered
models:
  one:
    model: openai/stand-in
    api_base: {url}
    price: {{input: {input}, output: {output}}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 2}}
  - {{type: fuser}}
"""

ROWS = 6


class Nights(Stage):
    """A folder as a data engineer keeps one: jobs, data, results."""

    def prepare(self, url: str, job: str = JOB) -> None:
        for name in ("jobs", "data", "out"):
            (self.folder / name).mkdir(exist_ok=True)
        self.architecture(url, ARCH)
        self.write("tell.py", TELL)
        self.write("jobs/labels.yaml", job.replace("PYTHON", sys.executable))

    def deliver(self, day: str) -> None:
        self.dataset(ROWS).rename(self.folder / "data" / f"{day}.jsonl")

    def submit(self, day: str, *more: str, status: int = 0) -> str:
        command = ("submit", "--job", "jobs/labels.yaml", "--follow", "--date", day, *more)
        return self.run(*command, status=status).strip()

    @property
    def told(self) -> list[dict[str, Any]]:
        return self.lines("told.jsonl") if (self.folder / "told.jsonl").exists() else []

    def nights(self) -> dict[str, str]:
        """Each night by its date, with its state."""
        return {
            one["scheduled_run"]["date"]: one["scheduled_run"]["state"]
            for one in self.json("jobs")
            if one["scheduled_run"] is not None
        }

    def exported(self, day: str) -> bool:
        return (self.folder / "out" / f"labels-{day}.jsonl").exists()

    @contextmanager
    def beat(self) -> Iterator[subprocess.Popen[str]]:
        # Its log goes to a file: a pipe that nobody reads would hold it up.
        with (self.folder / "beat.log").open("a") as log:
            started = Popen(
                [sys.executable, "-m", "archon_batch", "schedule"],
                cwd=self.folder,
                env={**self.environment, "ARCHON_BATCH_LOG_FORMAT": "json"},
                stderr=log,
                stdout=log,
                text=True,
            )
            try:
                yield started
            finally:
                started.send_signal(signal.SIGTERM)
                assert started.wait(30) == 0

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "beat.log").read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in events if one["event"] == event]


def _day(ago: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=ago)).isoformat()


@pytest.fixture
def stage(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


@pytest.mark.redis
def test_two_schedulers_and_workers_make_one_job_of_a_run_and_export_it(
    tmp_path: Path, redis_url: str
) -> None:
    stage = Nights(tmp_path, ARCHON_BATCH_BROKER_URL=redis_url)

    with ProviderServer(prices=PRICES, latency=0.01) as provider, stage.workers(POOLS):
        stage.prepare(provider.url)
        stage.deliver(_day(1))
        first = stage.submit(_day(1))
        paid = provider.request_count
        # The night of today was missed: nothing has run since the hour came.
        today = _day(0)
        stage.deliver(today)
        stage.write("data/more.jsonl", "")
        with stage.beat(), stage.beat():
            until(lambda: stage.exported(today))
            until(lambda: stage.nights().get(today) == "done")
        # The same rows under the same architecture: their replies are found, and not paid again.
        assert provider.request_count == paid == ROWS * 3
        jobs = stage.json("jobs")

    assert [j["name"] for j in jobs] == [f"labels-{today}", f"labels-{_day(1)}"]
    assert jobs[1]["job"] == first
    assert stage.nano_usd(first) == provider.bill
    assert [a["status"] for a in stage.lines(f"out/labels-{today}.jsonl")] == ["answered"] * ROWS
    assert not list((tmp_path / "out").glob(".*"))
    assert stage.told == []


def test_a_run_without_its_dataset_is_recorded_notified_once_and_can_be_repeated(
    stage: Nights,
) -> None:
    with ProviderServer(prices=PRICES) as provider:
        stage.prepare(provider.url)
        stage.submit("2026-01-31", status=2)
        stage.submit("2026-01-31", status=2)
        failed, table = stage.json("jobs"), stage.run("jobs")
        stage.deliver("2026-01-31")
        job = stage.submit("2026-01-31")

    why = "data/2026-01-31.jsonl: no such file"
    assert [(j["job"], j["state"], j["reason"]) for j in failed] == [(None, "failed", why)]
    assert f"jobs/labels.yaml on 2026-01-31: failed: {why}" in table
    assert stage.told == [
        {
            "JOB": "",
            "NAME": "labels-2026-01-31",
            "STATE": "failed",
            "REASON": why,
            "DATE": "2026-01-31",
        }
    ]
    assert [(j["job"], j["scheduled_run"]["state"]) for j in stage.json("jobs")] == [(job, "done")]
    assert stage.exported("2026-01-31")


def test_a_run_that_exhausts_its_budget_is_paused_notified_and_continues_with_a_larger_one(
    stage: Nights,
) -> None:
    with ProviderServer(prices=PRICES) as provider:
        small = JOB.replace("budget_usd: 5", "budget_usd: 0.0005")
        stage.prepare(provider.url, small)
        stage.deliver("2026-01-31")
        job = stage.submit("2026-01-31", status=4)
        paused = stage.nights()
        stage.prepare(provider.url)
        # The dataset may be deleted by then: the rows are in the job.
        (stage.folder / "data" / "2026-01-31.jsonl").unlink()
        again = stage.submit("2026-01-31", "--continue")

        assert stage.nano_usd(job) == provider.bill
    assert paused == {"2026-01-31": "paused"}
    assert [(t["JOB"], t["STATE"]) for t in stage.told] == [(job, "paused")]
    assert (again, stage.nights()) == (job, {"2026-01-31": "done"})
    assert stage.exported("2026-01-31")


@pytest.mark.parametrize("changed", ["architecture", "dataset"])
def test_another_architecture_or_dataset_under_the_run_s_name_is_refused(
    stage: Nights, changed: str
) -> None:
    with ProviderServer(prices=PRICES) as provider:
        stage.prepare(provider.url)
        stage.deliver("2026-01-31")
        job = stage.submit("2026-01-31")
        before = stage.lines("out/labels-2026-01-31.jsonl")
        paid = provider.request_count
        if changed == "architecture":
            stage.architecture(provider.url, ARCH.replace("samples: 2", "samples: 4"))
        else:
            stage.write("data/2026-01-31.jsonl", '{"prompt": "Another?"}\n')
        stage.submit("2026-01-31", status=2)

        assert provider.request_count == paid
    assert [(j["job"], j["scheduled_run"]["state"]) for j in stage.json("jobs")] == [(job, "done")]
    assert stage.lines("out/labels-2026-01-31.jsonl") == before


def test_a_failed_export_is_notified_and_repeated_by_the_next_scheduler(
    stage: Nights,
) -> None:
    with ProviderServer(prices=PRICES, latency=0.1) as provider:
        # An hour that does not come while this runs.
        stage.prepare(provider.url, JOB.replace("* * * * *", "0 2 1 1 *"))
        stage.deliver("2026-01-31")
        night = stage.start("submit", "--job", "jobs/labels.yaml", "--date", "2026-01-31")
        until(lambda: provider.request_count > 0)
        (stage.folder / "out").rename(stage.folder / "away")
        _, said = night.communicate(timeout=60)
        failed = stage.nights()
        (stage.folder / "away").rename(stage.folder / "out")
        # Ten minutes are not to be waited for here.
        _aged(stage)
        with stage.beat():
            until(lambda: stage.nights()["2026-01-31"] == "done")

        assert provider.request_count == ROWS * 3
    assert night.returncode == 2, said
    assert failed == {"2026-01-31": "export_failed"}
    assert [t["STATE"] for t in stage.told] == ["export_failed"]
    assert len(stage.lines("out/labels-2026-01-31.jsonl")) == ROWS


def _aged(stage: Nights) -> None:
    import sqlite3  # noqa: PLC0415

    with sqlite3.connect(stage.folder / "archon-batch.db") as database:
        database.execute("UPDATE scheduled_runs SET ended_at = '2026-01-31 02:00:00.000000'")
    database.close()


def test_runs_of_a_stopped_scheduler_are_finished_by_the_next(
    stage: Nights,
) -> None:
    today = _day(0)
    with ProviderServer(prices=PRICES, latency=0.15) as provider:
        stage.environment["ARCHON_BATCH_MAX_IN_FLIGHT"] = "1"
        stage.prepare(provider.url)
        stage.deliver(_day(1))
        stage.deliver(today)
        stage.submit(_day(1), "--limit", "1")
        paid = provider.request_count
        with stage.beat():
            until(lambda: provider.request_count > paid + 2)
        # It was stopped, and the night with it: in good order, and not to its end.
        left = stage.nights()
        assert not stage.exported(today)
        assert provider.request_count < ROWS * 3
        with stage.beat():
            until(lambda: stage.exported(today))
            until(lambda: stage.nights()[today] == "done")

        assert provider.request_count == ROWS * 3
    assert left[today] == "open"
    assert len(stage.lines(f"out/labels-{today}.jsonl")) == ROWS
    assert stage.told == []


def test_runs_of_two_days_overlap_and_that_is_logged(stage: Nights) -> None:
    yesterday, today = _day(1), _day(0)
    with ProviderServer(prices=PRICES, latency=0.2) as provider:
        stage.environment["ARCHON_BATCH_MAX_IN_FLIGHT"] = "1"
        stage.prepare(provider.url)
        stage.deliver(yesterday)
        stage.deliver(today)
        # Left open with its process dead: beat takes it up beside the one of today.
        night = stage.start("submit", "--job", "jobs/labels.yaml", "--date", yesterday)
        until(lambda: provider.request_count > 0)
        night.kill()
        night.communicate()
        with stage.beat():
            until(lambda: stage.exported(today) and stage.exported(yesterday))
            until(lambda: set(stage.nights().values()) == {"done"} and len(stage.nights()) == 2)

    (overlap,) = stage.logged("scheduled_runs_overlap")
    assert {overlap["date"], overlap["running"]} == {yesterday, today}
    assert stage.exported(yesterday)
    assert stage.exported(today)


def test_an_unreachable_broker_leaves_the_run_open_and_is_notified(tmp_path: Path) -> None:
    stage = Nights(tmp_path, ARCHON_BATCH_BROKER_URL="redis://127.0.0.1:1/0")
    stage.prepare("http://127.0.0.1:9/v1")
    stage.deliver("2026-01-31")

    stage.submit("2026-01-31", status=3)
    stage.submit("2026-01-31", status=3)

    assert stage.nights() == {"2026-01-31": "open"}
    assert [t["STATE"] for t in stage.told] == ["open"]


def test_a_run_with_failed_rows_is_exported_and_notified(stage: Nights) -> None:
    with ProviderServer(prices=PRICES, faults=lambda n: "refused" if n <= 2 else None) as provider:
        stage.environment["ARCHON_BATCH_MAX_IN_FLIGHT"] = "1"
        stage.prepare(provider.url, JOB.replace("budget_usd: 5\n", ""))
        stage.architecture(provider.url, ARCH.replace("samples: 2", "samples: 1"))
        stage.deliver("2026-01-31")
        stage.submit("2026-01-31", status=1)

    assert [(t["STATE"], t["REASON"]) for t in stage.told] == [("done", "2 rows failed")]
    assert stage.exported("2026-01-31")


def test_a_job_file_that_became_invalid_is_recorded_and_a_mistyped_name_is_not(
    stage: Nights,
) -> None:
    with ProviderServer(prices=PRICES) as provider:
        stage.prepare(provider.url)
        stage.run("submit", "--job", "jobs/label.yaml", status=2)
        made = (stage.folder / "archon-batch.db").exists()
        stage.deliver("2026-01-30")
        stage.submit("2026-01-30")
        stage.write("jobs/labels.yaml", "dataset: [\n")
        stage.submit("2026-01-31", status=2)

    assert not made
    assert stage.nights() == {"2026-01-31": "failed", "2026-01-30": "done"}
    assert "jobs/labels.yaml:2:1" in stage.json("jobs")[0]["reason"]
    assert stage.told == []


def test_continue_is_refused_for_a_file_without_recorded_runs(stage: Nights) -> None:
    stage.prepare("http://127.0.0.1:9/v1", "dataset: rows.jsonl\narchitecture: layered.yaml\n")

    stage.submit("2026-01-31", "--continue", status=2)
    stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--date", "2026-01-31", status=2)
