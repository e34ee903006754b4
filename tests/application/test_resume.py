"""Continuing, retrying and cancelling a job."""

import pytest

from archon_batch.application.resume import RowCondition, cancel_job, resume_job, retry_job
from archon_batch.archon import Failed
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd
from tests.builders import a_job


def test_a_paused_job_resumes_only_with_a_budget_above_its_cost(store):
    job = a_job(store, budget=1_000)
    store.jobs.change_state(job.id, "paused", from_states=["running"])

    with pytest.raises(InputError, match="has reached its budget"):
        resume_job(store, job.id)

    assert resume_job(store, job.id, NanoUsd(2_000)).state == "running"
    assert store.jobs.get(job.id).budget == 2_000


def test_a_done_job_is_not_resumed(store):
    job = a_job(store)
    store.jobs.change_state(job.id, "done", from_states=["running"])

    with pytest.raises(InputError, match=f"{job.id} is done"):
        resume_job(store, job.id)


def test_a_retry_reopens_the_rows_that_match_and_names_what_there_is_if_none_does(store):
    job = a_job(store)
    store.items.finish(job.id, [(0, Failed(0, "timeout")), (1, Failed(0, "refused"))])

    with pytest.raises(InputError, match=r"no row matches --where reason=quota; it has 2 failed"):
        retry_job(store, job.id, [RowCondition("reason", "quota")])
    _, count = retry_job(store, job.id, [RowCondition("reason", "refused")])

    assert count == 1
    assert store.usage.progress(job.id).failed == 1


def test_a_job_is_cancelled_once(store):
    job = a_job(store)

    assert cancel_job(store, job.id).state == "cancelled"
    with pytest.raises(InputError, match="is cancelled already"):
        cancel_job(store, job.id)
