"""Submitting as a library would: events instead of output, and no import that is not needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from archon_batch import logs
from archon_batch.application import events
from archon_batch.application.open_store import open_store
from archon_batch.application.prepare import JobRequest
from archon_batch.application.run import RunResult
from archon_batch.application.submit import SubmitOptions, submit_dataset
from archon_batch.errors import InputError
from archon_batch.settings import Settings

ARCHITECTURE = {
    "name": "small",
    "defaults": {"model": "scripted/plausible"},
    "layers": [{"type": "generator", "samples": 2}, {"type": "ranker"}, {"type": "fuser"}],
}
#: Packages that a submission never needs; the sandbox only for an architecture that runs code.
UNUSED = (
    "archon_batch.evaluation",
    "archon_batch.html_report",
    "archon_batch.sandbox",
    "archon_batch.search",
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"prompt": "What is 2 + 2?"}\n{"prompt": "What is 3 + 3?"}\n')
    Path("small.json").write_text(json.dumps(ARCHITECTURE))
    return Settings(spool_folder=str(tmp_path / "spool"))


def test_a_submission_reports_events_and_prints_nothing(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("error", "text")
    reported: list[events.Event] = []
    request = JobRequest("rows.jsonl", "small.json", output=Path("answers.jsonl"))

    result = submit_dataset(settings, request, SubmitOptions(), reported.append)

    assert capfd.readouterr() == ("", "")
    assert result.state == "done"
    kinds = list(dict.fromkeys(type(event) for event in reported))
    assert kinds == [
        events.JobSubmitted,
        events.JobProgressed,
        events.JobEnded,
        events.Exported,
    ]
    assert len(Path("answers.jsonl").read_text().splitlines()) == 2


def test_a_submission_that_does_not_wait_only_stores_the_job(settings: Settings) -> None:
    reported: list[events.Event] = []
    request = JobRequest("rows.jsonl", "small.json")

    result = submit_dataset(settings, request, SubmitOptions(wait=False), reported.append)

    with open_store(settings) as store:
        (job,) = store.jobs.all()
    assert result == RunResult(job.id, "stored")
    assert reported == [events.JobSubmitted(job), events.JobLeftStored(job)]


def test_a_cancelled_job_is_reported_and_refused(settings: Settings) -> None:
    reported: list[events.Event] = []
    request = JobRequest("rows.jsonl", "small.json")
    job_id = submit_dataset(settings, request, SubmitOptions(wait=False)).job_id
    with open_store(settings) as store:
        store.items.cancel_job(job_id)

    with pytest.raises(InputError, match=f"{job_id} is cancelled"):
        submit_dataset(settings, request, SubmitOptions(), reported.append)

    assert [type(event) for event in reported] == [events.JobFound]


@pytest.mark.slow
def test_a_submission_imports_no_evaluation_search_report_or_sandbox(settings: Settings) -> None:
    del settings
    code = (
        "import sys\n"
        "from archon_batch.cli import main\n"
        "try:\n"
        "    main(['submit', 'rows.jsonl', '--arch', 'small.json', '-o', 'answers.jsonl'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"print([name for name in sys.modules if name.startswith({UNUSED!r})])\n"
    )

    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ended.stdout.splitlines()[-1] == "[]"
