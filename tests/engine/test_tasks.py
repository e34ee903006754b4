"""Messages with an old token, and messages of another installation."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from archon_batch.engine import runtime, tasks
from archon_batch.engine.app import settings
from archon_batch.engine.runtime import Runtime
from archon_batch.settings import Settings
from tests.builders import a_job

CURSOR = (0, "0123456789abcdef")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "settings", replace(settings, broker_url="redis://elsewhere/0"))
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    runtime.install(opened)
    yield opened
    runtime.install(None)
    opened.close()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("task", "more"), [(tasks.advance_task, []), (tasks.execute_task, [[[0, ["0.0.0.0"]]]])]
)
def test_a_message_of_an_unknown_job_is_logged_and_returned_a_few_times(task, more):
    with capture_logs() as logs:
        task.apply(args=("abcdef012345", *CURSOR, *more))

    logged = [log for log in logs if log["event"] == "message_of_unknown_job"]
    assert [log["returned"] for log in logged] == [True] * 5 + [False]
    assert {log["log_level"] for log in logged} == {"warning"}


@pytest.mark.parametrize(
    ("task", "more"), [(tasks.advance_task, []), (tasks.execute_task, [[[0, ["0.0.0.0"]]]])]
)
def test_a_message_with_an_old_token_does_nothing(here, task, more):
    job = a_job(here.store)

    with capture_logs() as logs:
        assert task.apply(args=(job.id, *CURSOR, *more)).state == "SUCCESS"

    assert [log["event"] for log in logs] == ["message_stale"]
