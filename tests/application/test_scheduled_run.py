"""A scheduled run: what is recorded, and who is notified."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from archon_batch.application.open_store import open_store
from archon_batch.application.run import RunResult
from archon_batch.application.scheduled_run import ScheduledRunRecorder, run_job_file
from archon_batch.config import JobFile
from archon_batch.settings import Settings
from tests.builders import a_job

DAY = date(2026, 1, 31)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(spool_folder=str(tmp_path / "spool"))


def a_job_file(**keys: object) -> Path:
    path = Path("labels.yaml")
    path.write_text(
        json.dumps(
            {"dataset": "rows.jsonl", "architecture": "label", "name": "labels-{date}", **keys}
        )
    )
    return path


@pytest.mark.parametrize(
    ("state", "recorded", "notified"),
    [
        ("cancelled", "cancelled", False),
        ("stopped", "stopped", True),
        ("interrupted", "open", False),
    ],
)
def test_a_run_takes_the_state_of_its_job_and_only_a_failure_is_notified(
    settings: Settings, state: str, recorded: str, notified: bool
) -> None:
    def work(_file: JobFile, recorder: ScheduledRunRecorder | None) -> RunResult:
        assert recorder is not None
        with open_store(settings) as store:
            job = a_job(store)
            recorder.record_job(store, job)
            if state == "cancelled":
                store.items.cancel_job(job.id)
            elif state == "stopped":
                store.jobs.change_state(job.id, state, from_states=["running"])
        return RunResult(job.id, state)

    hook = [sys.executable, "-c", "open('notified', 'w')"]
    path = a_job_file(when="0 2 * * *", on_failure=hook)

    assert run_job_file(settings, path, DAY, work).state == state

    with open_store(settings) as store:
        (run,) = store.scheduled_runs.all()
    assert (run.job_file, run.day, run.state) == (str(path.absolute()), DAY, recorded)
    assert Path("notified").exists() is notified


def test_a_file_with_neither_when_nor_on_failure_is_not_recorded(settings: Settings) -> None:
    recorders: list[ScheduledRunRecorder | None] = []

    def work(_file: JobFile, recorder: ScheduledRunRecorder | None) -> RunResult:
        recorders.append(recorder)
        return RunResult("job", "done")

    assert run_job_file(settings, a_job_file(), DAY, work).state == "done"

    assert recorders == [None]
