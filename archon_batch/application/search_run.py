"""Runs an architecture search: its jobs, in this process or on the workers, and its record."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from archon_batch.application.events import Report, SearchProgressed, ignore
from archon_batch.application.open_store import open_store
from archon_batch.application.run import raise_store_error
from archon_batch.application.search_request import PreparedSearch
from archon_batch.application.worker_check import WorkerCheck
from archon_batch.config import component_types
from archon_batch.errors import ArchonBatchError
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.jobs.views import usd_number
from archon_batch.search import results
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial import SearchResult
from archon_batch.search.trial_jobs import InterruptedSearchError, JobTrialRunner, RunJobs
from archon_batch.settings import Settings
from archon_batch.store import Job, Store, retry_while_unavailable

if TYPE_CHECKING:
    from archon_batch.engine.runtime import Runtime

#: Seconds between checks of the jobs.
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class SearchRun:
    """A search that ended, its record as ``search show --json`` prints it, and its result."""

    found: SearchResult
    figures: dict[str, Any]
    result: dict[str, Any]


def run_search(settings: Settings, prepared: PreparedSearch, report: Report = ignore) -> SearchRun:
    """Run the search, or continue it where it stopped, and record how it ended.

    Raises:
        InputError: no architecture of the space is valid, or a provider stopped a job for good.
        InterruptedSearchError: the user interrupted it; calling this again continues it.
    """
    with _open_job_runner(settings, report) as (store, run_jobs):
        return _run_search(store, prepared, run_jobs, report)


def _run_search(
    store: Store, prepared: PreparedSearch, run_jobs: RunJobs, report: Report
) -> SearchRun:
    request, searches = prepared.request, store.searches
    is_new = searches.start(prepared.id, prepared.name, prepared.parameters, prepared.terms.budget)
    continued = "" if is_new else "; continues where it stopped"
    report(
        SearchProgressed(
            f"search {prepared.id} ({prepared.name}): {len(request.dev)} dev rows, "
            f"{len(request.held_out)} held out{continued}"
        )
    )
    search = ArchitectureSearch(
        JobTrialRunner(store, prepared.terms, run_jobs),
        request,
        estimate_row=prepared.forecast,
        record_trial=partial(searches.save_trial, prepared.id),
        report_progress=lambda text: report(SearchProgressed(text)),
    )
    try:
        search_result = search.run()
    except (InterruptedSearchError, KeyboardInterrupt):
        searches.finish(prepared.id, "interrupted", "the same command continues", None)
        raise
    except ArchonBatchError as error:
        searches.finish(prepared.id, "stopped", str(error), None)
        raise
    result = results.result_to_json(search_result, request.seed)
    committed = searches.committed_cost(prepared.id)
    result |= {"usd": usd_number(committed), "budget_usd": usd_number(prepared.terms.budget)}
    state = "paused" if search_result.is_budget_exhausted else "done"
    searches.finish(prepared.id, state, search_result.end_reason, result)
    return SearchRun(search_result, search_json(store, prepared.id), result)


def search_head(store: Store, search_id: str) -> dict[str, Any]:
    """A search without its trials, as plain data."""
    record = store.searches.find(search_id)
    return {
        "search": record.id,
        "name": record.name,
        "state": record.state,
        "reason": record.reason,
        "budget_usd": usd_number(record.budget),
        "usd": usd_number(store.searches.committed_cost(record.id)),
        "created_at": record.created_at.isoformat(),
    }


def search_json(store: Store, search_id: str) -> dict[str, Any]:
    """A search with its trials: the shape of ``search show --json``."""
    record = store.searches.find(search_id)
    return {
        **search_head(store, search_id),
        "asked": record.request,
        "result": None if record.result is None else results.with_current_keys(record.result),
        "trials": [dict(trial.data) for trial in store.searches.trials(search_id)],
    }


@contextmanager
def _open_job_runner(settings: Settings, report: Report) -> Iterator[tuple[Store, RunJobs]]:
    """The store, and the function that runs a search's jobs, while the body runs."""
    if not settings.in_process:
        with open_store(settings) as store:
            yield store, partial(_run_jobs, store, report, lambda: None)
        return
    with _open_runtime(settings) as runtime:
        check = partial(raise_store_error, runtime)
        yield runtime.store, partial(_run_jobs, runtime.store, report, check)


@contextmanager
def _open_runtime(settings: Settings) -> Iterator["Runtime"]:
    # Celery takes a third of a second to import.
    from archon_batch.engine.in_process import in_process_workers  # noqa: PLC0415
    from archon_batch.engine.runtime import Runtime  # noqa: PLC0415

    runtime = Runtime(settings)
    try:
        with in_process_workers(runtime):
            yield runtime
    finally:
        runtime.close()


def _run_jobs(store: Store, report: Report, check: Callable[[], None], jobs: Sequence[Job]) -> bool:
    """Run the jobs until none of them runs; return False if the user interrupted."""
    from archon_batch.engine.start_job import finish_rows, start_job  # noqa: PLC0415

    try:
        for job in jobs:
            start_job(store, job)
        _wait_for_jobs(store, report, check, jobs)
    except KeyboardInterrupt:
        check()
        return False
    for job in jobs:
        # Finalise rows whose replies are complete, also of a job that its budget halted.
        if store.jobs.get(job.id).state != "done":
            finish_rows(store, load_frozen_job(job, component_types()))
    return True


def _wait_for_jobs(
    store: Store, report: Report, check: Callable[[], None], jobs: Sequence[Job]
) -> None:
    """Wait until no job runs or has a call in flight."""
    waiting = list(jobs)
    workers = WorkerCheck(store, jobs, report)
    while waiting:
        current = [retry_while_unavailable(partial(store.jobs.get, job.id)) for job in waiting]
        waiting = [job for job in current if job.state == "running" or job.held]
        if waiting:
            check()
            workers.run_if_due()
            time.sleep(_POLL_SECONDS)
