"""A job file's day: what is put on record of it, and who is told."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from archon_batch.application.scheduled_run import ScheduledRunRecorder, run_job_file
from archon_batch.cli import options
from archon_batch.config import JobFile
from archon_batch.settings import Settings
from tests.builders import a_job

DAY = date(2026, 1, 31)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(spool_folder=str(tmp_path / "spool"))


def written(**keys: object) -> Path:
    path = Path("labels.yaml")
    path.write_text(
        json.dumps(
            {"dataset": "rows.jsonl", "architecture": "label", "name": "labels-{date}", **keys}
        )
    )
    return path


@pytest.mark.parametrize("state", ["cancelled", "stopped"])
def test_a_night_is_what_its_job_is_and_a_cancelled_one_is_told_to_nobody(
    here: Settings, state: str
) -> None:
    def work(_file: JobFile, night: ScheduledRunRecorder | None) -> int:
        assert night is not None
        with options.open_store(here) as store:
            job = a_job(store)
            night.record_job(store, job)
            if state == "cancelled":
                store.items.cancel_job(job.id)
            else:
                store.jobs.change_state(job.id, state, from_states=["running"])
        return 1

    tell = [sys.executable, "-c", "open('told', 'w')"]
    path = written(when="0 2 * * *", on_failure=tell)

    assert run_job_file(here, path, DAY, work) == 1

    with options.open_store(here) as store:
        (night,) = store.scheduled_runs.all()
    assert (night.job_file, night.day, night.state) == (str(path.absolute()), DAY, state)
    assert Path("told").exists() is (state == "stopped")


def test_of_a_file_with_neither_an_hour_nor_somebody_to_tell_no_night_is_kept(
    here: Settings,
) -> None:
    nights: list[ScheduledRunRecorder | None] = []

    def work(_file: JobFile, night: ScheduledRunRecorder | None) -> int:
        nights.append(night)
        return 0

    assert run_job_file(here, written(), DAY, work) == 0

    assert nights == [None]
