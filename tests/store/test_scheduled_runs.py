"""Nights on record."""

from datetime import date

import pytest

from archon_batch.store import Night, Store
from tests.builders import a_dead_process, a_job

FILE = "/srv/night/jobs/labels.yaml"
DAY = date(2026, 1, 31)


@pytest.fixture
def begun(any_store: Store) -> Night:
    return any_store.nights.begin(FILE, DAY, "labels-2026-01-31")


def test_a_night_is_open_and_attended_once_it_is_begun(begun: Night, any_store: Store) -> None:
    assert (begun.state, begun.job, begun.reason) == ("open", None, None)
    assert begun.is_attended
    assert not begun.is_abandoned
    assert any_store.nights.find(FILE, DAY) == begun
    assert any_store.nights.unfinished() == [begun]


@pytest.mark.usefixtures("begun")
def test_a_night_of_a_process_that_died_is_abandoned(any_store: Store) -> None:
    with any_store.database.writing() as connection:
        dead = a_dead_process()
        connection.exec_driver_sql(f"UPDATE nights SET owner = '{dead}'")  # noqa: S608

    (night,) = any_store.nights.unfinished()

    assert night.is_abandoned
    assert not night.is_attended


@pytest.mark.usefixtures("begun")
def test_a_failure_is_told_once_however_often_the_night_fails(any_store: Store) -> None:
    first = any_store.nights.end(FILE, DAY, "failed", "no such file", fails=True)
    once_more = any_store.nights.end(FILE, DAY, "failed", "no such file", fails=True)
    any_store.nights.begin(FILE, DAY, "labels-2026-01-31")
    again = any_store.nights.end(FILE, DAY, "failed", "empty", fails=True)

    assert (first, once_more, again) == (True, False, False)
    (night,) = any_store.nights.all()
    assert (night.state, night.reason) == ("failed", "empty")


@pytest.mark.usefixtures("begun")
def test_a_night_that_is_done_stays_done(any_store: Store) -> None:
    any_store.nights.end(FILE, DAY, "done", None, fails=False)

    again = any_store.nights.begin(FILE, DAY, "labels-2026-01-31")
    told = any_store.nights.end(FILE, DAY, "failed", "another dataset", fails=True)

    assert again.state == "done"
    assert not told
    assert [(n.state, n.reason) for n in any_store.nights.all()] == [("done", None)]
    assert any_store.nights.unfinished() == []


@pytest.mark.usefixtures("begun")
def test_a_paused_night_is_unfinished_once_its_job_was_brought_to_an_end(any_store: Store) -> None:
    job = a_job(any_store)
    any_store.nights.submitted(FILE, DAY, job.id)
    any_store.nights.end(FILE, DAY, "paused", "the budget is reached", fails=True)
    before = any_store.nights.unfinished()

    any_store.jobs.move(job.id, "done", only_from=["running"])

    assert before == []
    assert [night.job for night in any_store.nights.unfinished()] == [job.id]


def test_the_last_night_is_that_of_the_latest_day_and_not_the_latest_begun(
    begun: Night, any_store: Store
) -> None:
    any_store.nights.begin(FILE, date(2026, 1, 2), "labels-2026-01-02")
    any_store.nights.begin("/srv/night/jobs/other.yaml", date(2026, 3, 1), "other")

    assert any_store.nights.last(FILE) == begun
    assert any_store.nights.last("/srv/night/jobs/none.yaml") is None
