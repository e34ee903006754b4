"""Scheduled runs."""

from datetime import date

import pytest

from archon_batch.store import ScheduledRun, Store
from tests.builders import a_dead_process, a_job

FILE = "/srv/labels/jobs/labels.yaml"
DAY = date(2026, 1, 31)


@pytest.fixture
def begun(any_store: Store) -> ScheduledRun:
    return any_store.scheduled_runs.start(FILE, DAY, "labels-2026-01-31")


def test_a_started_run_is_open_and_its_owner_alive(begun: ScheduledRun, any_store: Store) -> None:
    assert (begun.state, begun.job_id, begun.reason) == ("open", None, None)
    assert begun.is_owner_alive
    assert not begun.is_abandoned
    assert any_store.scheduled_runs.find(FILE, DAY) == begun
    assert any_store.scheduled_runs.unfinished() == [begun]


@pytest.mark.usefixtures("begun")
def test_a_run_of_a_dead_process_is_abandoned(any_store: Store) -> None:
    with any_store.database.write_transaction() as connection:
        dead = a_dead_process()
        connection.exec_driver_sql(f"UPDATE scheduled_runs SET owner = '{dead}'")  # noqa: S608

    (run,) = any_store.scheduled_runs.unfinished()

    assert run.is_abandoned
    assert not run.is_owner_alive


@pytest.mark.usefixtures("begun")
def test_a_failure_is_notified_once_however_often_the_run_fails(any_store: Store) -> None:
    first = any_store.scheduled_runs.finish(FILE, DAY, "failed", "no such file", failed=True)
    once_more = any_store.scheduled_runs.finish(FILE, DAY, "failed", "no such file", failed=True)
    any_store.scheduled_runs.start(FILE, DAY, "labels-2026-01-31")
    again = any_store.scheduled_runs.finish(FILE, DAY, "failed", "empty", failed=True)

    assert (first, once_more, again) == (True, False, False)
    (run,) = any_store.scheduled_runs.all()
    assert (run.state, run.reason) == ("failed", "empty")


@pytest.mark.usefixtures("begun")
def test_a_run_that_is_done_stays_done(any_store: Store) -> None:
    any_store.scheduled_runs.finish(FILE, DAY, "done", None, failed=False)

    again = any_store.scheduled_runs.start(FILE, DAY, "labels-2026-01-31")
    told = any_store.scheduled_runs.finish(FILE, DAY, "failed", "another dataset", failed=True)

    assert again.state == "done"
    assert not told
    assert [(n.state, n.reason) for n in any_store.scheduled_runs.all()] == [("done", None)]
    assert any_store.scheduled_runs.unfinished() == []


@pytest.mark.usefixtures("begun")
def test_a_paused_run_is_unfinished_once_its_job_is_done(any_store: Store) -> None:
    job = a_job(any_store)
    any_store.scheduled_runs.set_job(FILE, DAY, job.id)
    any_store.scheduled_runs.finish(FILE, DAY, "paused", "the budget is reached", failed=True)
    before = any_store.scheduled_runs.unfinished()

    any_store.jobs.change_state(job.id, "done", from_states=["running"])

    assert before == []
    assert [run.job_id for run in any_store.scheduled_runs.unfinished()] == [job.id]


def test_the_latest_run_has_the_latest_day_and_not_the_latest_start(
    begun: ScheduledRun, any_store: Store
) -> None:
    any_store.scheduled_runs.start(FILE, date(2026, 1, 2), "labels-2026-01-02")
    any_store.scheduled_runs.start("/srv/labels/jobs/other.yaml", date(2026, 3, 1), "other")

    assert any_store.scheduled_runs.latest(FILE) == begun
    assert any_store.scheduled_runs.latest("/srv/labels/jobs/none.yaml") is None
