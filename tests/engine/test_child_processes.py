"""How many processes a job gets, and how many calls each has in flight."""

import pytest

from archon_batch.engine import child_processes
from archon_batch.settings import Settings
from archon_batch.store import Job
from tests.builders import a_job, an_architecture


def job_with_rows(store, rows: int, shards: int = 9, **changes) -> Job:
    job = a_job(store, questions=rows, width=shards, **changes)
    assert job.rows == rows
    return job


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (999, 1), (1_000, 2), (1_999, 3), (9_000, 4)])
def test_each_process_has_a_core_and_at_least_five_hundred_rows(store, monkeypatch, rows, size):
    monkeypatch.setattr(child_processes, "_cores", lambda: 4)

    assert child_processes.process_count(Settings(), job_with_rows(store, rows)) == size


@pytest.mark.parametrize("cores", [1, 64])
def test_the_setting_overrides_rows_and_cores(store, monkeypatch, cores):
    monkeypatch.setattr(child_processes, "_cores", lambda: cores)

    assert child_processes.process_count(Settings(processes=3), job_with_rows(store, 2)) == 3


def test_a_local_model_gets_one_process(store, monkeypatch):
    monkeypatch.setattr(child_processes, "_cores", lambda: 4)
    own = an_architecture("generator", defaults={"model": "local/smollm2-135m"})

    assert (
        child_processes.process_count(Settings(), job_with_rows(store, 2_000, architecture=own))
        == 1
    )


def test_processes_share_the_calls_in_flight_of_one():
    assert [
        child_processes.in_flight_share(Settings(max_in_flight=64), of) for of in (1, 3, 64, 99)
    ] == [
        64,
        21,
        1,
        1,
    ]
