"""The scheduler of job files, and the failure hook of a scheduled run."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from celery.beat import ScheduleEntry
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from archon_batch.engine import failure_hook
from archon_batch.engine import scheduler as scheduler_module
from archon_batch.engine.app import app, settings
from archon_batch.engine.scheduled_runs import ScheduledRunProcesses
from archon_batch.errors import InputError
from archon_batch.store import Store, now

JOB = """\
dataset: rows.jsonl
architecture: label
name: labels-{date}
when: "0 2 * * *"
"""

FACTS = {"file": "jobs/labels.yaml", "state": "failed", "reason": "no such file", "job": ""}


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "at", "due"),
    [
        ("0 2 * * *", "2026-01-31T02:00:00", "2026-01-31T02:00:00"),
        ("0 2 * * *", "2026-01-31T01:59:59", "2026-01-30T02:00:00"),
        ("30 23 * * *", "2026-02-01T00:10:00", "2026-01-31T23:30:00"),
        ("* * * * *", "2026-01-31T09:15:40", "2026-01-31T09:15:00"),
        ("0 2 * * mon-fri", "2026-02-01T12:00:00", "2026-01-30T02:00:00"),
        ("0 0 1 1 *", "2026-12-31T00:00:00", "2026-01-01T00:00:00"),
        ("0 12 29 2 *", "2026-12-31T00:00:00", "2024-02-29T12:00:00"),
    ],
)
def test_the_latest_due_time_is_the_last_one_before_now(when: str, at: str, due: str) -> None:
    assert scheduler_module.last_due(scheduler_module.to_crontab(when), _utc(at)) == _utc(due)


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(0, 59),
    st.sampled_from(["*", "3", "22-4", "*/5"]),
    st.sampled_from(["*", "sun", "mon-fri"]),
)
@example(_utc("2024-03-01T00:00:00"), 0, "22-4", "sun")
def test_no_due_time_lies_between_the_latest_and_now(
    at: datetime, minute: int, hour: str, weekday: str
) -> None:
    cron = scheduler_module.to_crontab(f"{minute} {hour} * * {weekday}")

    due = scheduler_module.last_due(cron, at)

    # Count down minute by minute, without Celery.
    step = at.replace(second=0, microsecond=0)
    while not (
        step.minute in cron.minute  # type: ignore[attr-defined]
        and step.hour in cron.hour  # type: ignore[attr-defined]
        and step.isoweekday() % 7 in cron.day_of_week  # type: ignore[attr-defined]
    ):
        step -= timedelta(minutes=1)
    assert due == step


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/store.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one job file, and a database beside it."""
    monkeypatch.setattr(
        scheduler_module, "settings", replace(settings, database_url=_url(tmp_path))
    )
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "labels.yaml").write_text(JOB, encoding="utf-8")
    return tmp_path / "jobs"


@pytest.fixture
def scheduler(folder: Path) -> Iterator[Callable[[], scheduler_module.JobFileScheduler]]:
    made: list[scheduler_module.JobFileScheduler] = []

    def make() -> scheduler_module.JobFileScheduler:
        made.append(scheduler_module.JobFileScheduler(app, schedule_filename=str(folder)))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[[], scheduler_module.JobFileScheduler]


def _store_done_run(folder: Path, days: int) -> None:
    """Store a run that was done so many days ago."""
    store = Store.open(_url(folder.parent))
    file, day = str(folder / "labels.yaml"), (now() - timedelta(days=days)).date()
    store.scheduled_runs.start(file, day, "labels")
    store.scheduled_runs.finish(file, day, "done", None, failed=False)
    store.close()


def _due(made: scheduler_module.JobFileScheduler) -> bool:
    (entry,) = made.schedule.values()
    assert isinstance(entry, ScheduleEntry)
    return bool(entry.is_due()[0])


def test_a_new_job_file_has_missed_no_run(scheduler: Make) -> None:
    assert not _due(scheduler())


def test_a_missed_run_is_due_at_the_start(folder: Path, scheduler: Make) -> None:
    _store_done_run(folder, days=5)

    assert _due(scheduler())


def test_a_stored_run_is_not_due_at_the_start(folder: Path, scheduler: Make) -> None:
    _store_done_run(folder, days=0)

    assert not _due(scheduler())


def test_a_run_started_after_midnight_belongs_to_the_day_it_was_due(
    folder: Path, scheduler: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "labels.yaml").write_text(JOB.replace("0 2", "30 23"), encoding="utf-8")
    made = scheduler()
    calls: list[tuple[str, date]] = []
    monkeypatch.setattr(made._runs, "start", lambda file, day: calls.append((file, day)))
    monkeypatch.setattr(scheduler_module, "now", lambda: _utc("2026-02-01T00:10:00"))

    made.apply_entry(*made.schedule.values())

    assert calls == [(str(folder / "labels.yaml"), date(2026, 1, 31))]


def test_a_run_that_is_done_or_active_is_not_started_again(folder: Path) -> None:
    _store_done_run(folder, days=0)
    store = Store.open(_url(folder.parent))
    file, today = str(folder / "labels.yaml"), now().date()
    tomorrow = today + timedelta(days=1)
    store.scheduled_runs.start(file, tomorrow, "labels")
    processes = ScheduledRunProcesses(store)

    started = [processes.start(file, day) for day in (today, tomorrow)]

    processes.stop()
    store.close()
    assert started == [False, False]


def test_only_job_files_with_a_schedule_are_scheduled(folder: Path, scheduler: Make) -> None:
    (folder / "by_hand.yaml").write_text(JOB.replace('when: "0 2 * * *"\n', ""), encoding="utf-8")
    (folder / "pool.yaml").write_text("queues: [calls]\n", encoding="utf-8")
    (folder / "notes.txt").write_text("dataset", encoding="utf-8")
    (folder / "samples").mkdir()

    assert list(scheduler().schedule) == [str(folder / "labels.yaml")]


def test_the_scheduler_does_not_start_with_wrong_files(folder: Path, scheduler: Make) -> None:
    (folder / "a.yaml").write_text(JOB.replace("0 2", "0 99"), encoding="utf-8")
    (folder / "b.yaml").write_text("datset: x\n", encoding="utf-8")

    both = r"a\.yaml:4: when: expected hours(.|\n)*b\.yaml:1: datset: unknown key"
    with pytest.raises(InputError, match=both):
        scheduler()


def test_new_changed_and_removed_files_are_noticed(folder: Path, scheduler: Make) -> None:
    made = scheduler()
    (folder / "labels.yaml").write_text(JOB.replace("0 2", "30 12"), encoding="utf-8")
    (folder / "new.yaml").write_text(JOB, encoding="utf-8")

    made.tick()
    changed = {Path(name).name: repr(entry.schedule) for name, entry in made.schedule.items()}
    (folder / "labels.yaml").unlink()
    made.tick()

    assert "30 12" in changed["labels.yaml"]
    assert "0 2" in changed["new.yaml"]
    assert [Path(name).name for name in made.schedule] == ["new.yaml"]


def test_a_file_that_becomes_invalid_keeps_its_schedule_and_is_logged_once(
    folder: Path, scheduler: Make
) -> None:
    made = scheduler()
    (folder / "labels.yaml").write_text("dataset: [", encoding="utf-8")

    with capture_logs() as events:
        made.tick()
        made.tick()

    assert [e["event"] for e in events] == ["job_file_refused"]
    assert "labels.yaml:1" in events[0]["why"]
    assert list(made.schedule) == [str(folder / "labels.yaml")]


class _Hook(BaseHTTPRequestHandler):
    """Records what is posted, and answers with the status in the path."""

    posted: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posted.append((self.path, body))
        status = int(self.path.lstrip("/"))
        self.send_response(status)
        if status in (302, 307):
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    posted: list[tuple[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Hook", (_Hook,), {"posted": posted}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_gets_the_facts_as_json(hook: tuple[str, list[tuple[str, Any]]]) -> None:
    url, posted = hook

    with capture_logs() as events:
        failure_hook.notify(f"{url}/204", FACTS)

    assert posted == [("/204", FACTS)]
    assert [e["event"] for e in events] == ["failure_hook_notified"]


@pytest.mark.parametrize("status", [307, 302, 500])
def test_a_redirect_or_an_error_status_is_logged_and_raises_nothing(
    hook: tuple[str, list[tuple[str, Any]]], status: int
) -> None:
    url, posted = hook

    with capture_logs() as events:
        failure_hook.notify(f"{url}/{status}", FACTS)

    assert [path for path, _ in posted] == [f"/{status}"]
    assert [e["event"] for e in events] == ["on_failure_failed"]
    assert url not in str(events)


def test_a_url_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket  # noqa: PLC0415

    monkeypatch.setattr(failure_hook, "_REQUEST_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as events:
        failure_hook.notify(f"http://127.0.0.1:{silent.getsockname()[1]}/", FACTS)

    assert [e["event"] for e in events] == ["on_failure_failed"]


def test_a_command_has_the_facts_in_its_environment_and_no_shell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import json, os, sys; print('noise');"
        "json.dump([dict(os.environ), sys.argv[2:]], open(sys.argv[1], 'w'))"
    )

    failure_hook.notify([sys.executable, "-c", code, str(tmp_path / "told"), "$HOME; ls"], FACTS)

    environment, arguments = json.loads((tmp_path / "told").read_text())
    assert arguments == ["$HOME; ls"]
    assert {k: environment[f"ARCHON_BATCH_{k.upper()}"] for k in FACTS} == FACTS
    assert "noise" not in capfd.readouterr().out


@pytest.mark.parametrize("command", [["/no/such/command"], [sys.executable, "-c", "1/0"]])
def test_a_command_that_fails_is_logged_and_no_more(command: list[str]) -> None:
    with capture_logs() as events:
        failure_hook.notify(command, FACTS)

    assert [e["event"] for e in events] == ["on_failure_failed"]


def test_a_command_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_hook, "_COMMAND_TIMEOUT", 0.2)
    began = time.monotonic()

    with capture_logs() as events:
        failure_hook.notify([sys.executable, "-c", "import time; time.sleep(30)"], FACTS)

    assert time.monotonic() - began < 15
    assert events[0]["why"] == subprocess.TimeoutExpired.__name__
