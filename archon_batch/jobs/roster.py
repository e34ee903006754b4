"""What is listed among the jobs: jobs, searches, and nights that came to no job."""

from collections.abc import Mapping, Sequence
from typing import Any

from archon_batch.jobs.views import iso_timestamp, job_summary, row_counts, usd_number
from archon_batch.store import Job, ScheduledRun, SearchRecord, Store

#: The keys of a job, of what is listed among jobs and is none.
_EMPTY_ENTRY: Mapping[str, Any] = dict.fromkeys(
    ("job", "name", "state", "reason", "dataset", "architecture", "rows", "budget_usd",
     "created_at", "ended_at", "answered", "failed", "open", "cancelled", "usd",
     "in_doubt_usd", "scheduled_run", "search")
)  # fmt: skip


def list_jobs(store: Store, *, include_search_jobs: bool = False) -> list[dict[str, Any]]:
    """Every job, every search and every night that came to no job, the newest first.

    Args:
        store: of which they are.
        include_search_jobs: whether the jobs of a search are told of too, and not the search alone.
    """
    nights = store.scheduled_runs.all()
    kept = {night.job_id: night for night in nights if night.job_id is not None}
    searched = store.searches.search_id_by_job()
    spent: dict[str, list[Job]] = {}
    listed = []
    for job in store.jobs.all():
        search = searched.get(job.id)
        if search is not None:
            spent.setdefault(search, []).append(job)
        if search is None or include_search_jobs:
            listed.append(
                {
                    **job_summary(job),
                    **row_counts(store.usage.progress(job.id)),
                    "usd": usd_number(job.spent),
                    "in_doubt_usd": usd_number(job.in_doubt),
                    "scheduled_run": _scheduled_run_figures(kept.get(job.id)),
                    "search": search,
                }
            )
    listed += [_search_entry(one, spent.get(one.id, ())) for one in store.searches.all()]
    listed += [_run_entry(night) for night in nights if night.job_id is None]
    return sorted(listed, key=lambda one: str(one["created_at"]), reverse=True)


def _scheduled_run_figures(run: ScheduledRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "file": run.job_file,
        "date": run.day.isoformat(),
        "state": run.state,
        "reason": run.reason,
    }


def _run_entry(run: ScheduledRun) -> dict[str, Any]:
    return {
        **_EMPTY_ENTRY,
        "name": run.job_name,
        "state": run.state,
        "reason": run.reason,
        "created_at": iso_timestamp(run.begun_at),
        "ended_at": iso_timestamp(run.ended_at),
        "scheduled_run": _scheduled_run_figures(run),
    }


def _search_entry(search: SearchRecord, jobs: Sequence[Job]) -> dict[str, Any]:
    return {
        **_EMPTY_ENTRY,
        "name": search.name,
        "state": search.state,
        "reason": search.reason,
        "dataset": ", ".join(search.request.get("datasets", ())),
        "budget_usd": usd_number(search.budget),
        "created_at": iso_timestamp(search.created_at),
        "ended_at": iso_timestamp(search.ended_at),
        "usd": usd_number(sum(job.spent for job in jobs)),
        "in_doubt_usd": usd_number(sum(job.in_doubt for job in jobs)),
        "search": search.id,
    }
