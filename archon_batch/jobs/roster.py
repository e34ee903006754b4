"""What is listed among the jobs: jobs, searches, and nights that came to no job."""

from collections.abc import Mapping, Sequence
from typing import Any

from archon_batch.jobs.views import dollars, head, moment, rows
from archon_batch.store import Job, Night, Search, Store

#: The keys of a job, of what is listed among jobs and is none.
_NO_JOB: Mapping[str, Any] = dict.fromkeys(
    ("job", "name", "state", "reason", "dataset", "architecture", "rows", "budget_usd",
     "created_at", "ended_at", "answered", "given_up", "open", "cancelled", "usd",
     "in_doubt_usd", "night", "search")
)  # fmt: skip


def jobs(store: Store, *, every: bool = False) -> list[dict[str, Any]]:
    """Every job, every search and every night that came to no job, the newest first.

    Args:
        store: of which they are.
        every: whether the jobs of a search are told of too, and not the search alone.
    """
    nights = store.nights.all()
    kept = {night.job: night for night in nights if night.job is not None}
    searched = store.searches.by_job()
    spent: dict[str, list[Job]] = {}
    listed = []
    for job in store.jobs.all():
        search = searched.get(job.id)
        if search is not None:
            spent.setdefault(search, []).append(job)
        if search is None or every:
            listed.append(
                {
                    **head(job),
                    **rows(store.accounts.progress(job.id)),
                    "usd": dollars(job.spent),
                    "in_doubt_usd": dollars(job.in_doubt),
                    "night": _night(kept.get(job.id)),
                    "search": search,
                }
            )
    listed += [_searched(one, spent.get(one.id, ())) for one in store.searches.all()]
    listed += [_jobless(night) for night in nights if night.job is None]
    return sorted(listed, key=lambda one: str(one["created_at"]), reverse=True)


def _night(night: Night | None) -> dict[str, Any] | None:
    if night is None:
        return None
    return {
        "file": night.file,
        "date": night.day.isoformat(),
        "state": night.state,
        "reason": night.reason,
    }


def _jobless(night: Night) -> dict[str, Any]:
    return {
        **_NO_JOB,
        "name": night.name,
        "state": night.state,
        "reason": night.reason,
        "created_at": moment(night.begun_at),
        "ended_at": moment(night.ended_at),
        "night": _night(night),
    }


def _searched(search: Search, jobs: Sequence[Job]) -> dict[str, Any]:
    return {
        **_NO_JOB,
        "name": search.name,
        "state": search.state,
        "reason": search.reason,
        "dataset": ", ".join(search.asked.get("datasets", ())),
        "budget_usd": dollars(search.budget),
        "created_at": moment(search.created_at),
        "ended_at": moment(search.ended_at),
        "usd": dollars(sum(job.spent for job in jobs)),
        "in_doubt_usd": dollars(sum(job.in_doubt for job in jobs)),
        "search": search.id,
    }
