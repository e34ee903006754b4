import pytest

from archon_batch.errors import JobNotFoundError
from archon_batch.store import Store, TrialRecord
from tests.builders import a_job


def test_a_search_is_created_once_and_continues_with_another_budget(any_store: Store) -> None:
    assert any_store.searches.start("s1", "mine", {"seed": 1}, 100)
    any_store.searches.finish("s1", "paused", "the budget", {"winner": None})
    assert not any_store.searches.start("s1", "mine", {"seed": 1}, 200)

    found = any_store.searches.find("mine")

    assert (found.state, found.budget, found.request) == ("running", 200, {"seed": 1})
    assert [one.id for one in any_store.searches.all()] == ["s1"]


def test_a_trial_is_read_as_it_was_saved_last(any_store: Store) -> None:
    any_store.searches.start("s1", "mine", {}, None)
    any_store.searches.save_trial("s1", TrialRecord(1, "trial", {"state": "running"}))
    any_store.searches.save_trial("s1", TrialRecord(0, "model", {"state": "done"}))
    any_store.searches.save_trial("s1", TrialRecord(1, "trial", {"state": "done"}))

    assert any_store.searches.trials("s1") == [
        TrialRecord(0, "model", {"state": "done"}),
        TrialRecord(1, "trial", {"state": "done"}),
    ]


def test_the_committed_cost_of_a_search_is_that_of_its_jobs(any_store: Store) -> None:
    any_store.searches.start("s1", "mine", {}, None)
    job = a_job(any_store)
    a_job(any_store, name="another")

    any_store.searches.add_jobs("s1", [job.id])
    any_store.searches.add_jobs("s1", [job.id])

    assert any_store.searches.job_ids("s1") == [job.id]
    assert any_store.searches.committed_cost("s1") == job.spent + job.held + job.in_doubt == 0


def test_an_unknown_search_is_reported(any_store: Store) -> None:
    with pytest.raises(JobNotFoundError, match="no search"):
        any_store.searches.find("nothing")


def test_the_jobs_of_a_search_are_mapped_to_it(any_store: Store) -> None:
    any_store.searches.start("s1", "mine", {}, None)
    job = a_job(any_store)
    a_job(any_store, name="another")

    any_store.searches.add_jobs("s1", [job.id])

    assert any_store.searches.search_id_by_job() == {job.id: "s1"}
