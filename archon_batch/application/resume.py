"""Continues, retries and cancels stored jobs."""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_batch.errors import InputError
from archon_batch.money import NanoUsd, to_usd
from archon_batch.store import Job, Store

#: States of a row that can be reopened.
REOPENABLE = ("failed", "cancelled")
#: Reasons that an error message lists, and characters of each.
_MAX_REASONS_SHOWN, _MAX_REASON_CHARS = 3, 100


@dataclass(frozen=True, slots=True)
class RowCondition:
    """A condition that a row must meet to be reopened: ``reason``, ``status``, ``layer`` or ``id``."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


def resume_job(store: Store, ref: str, budget: NanoUsd | None = None) -> Job:
    """Let a stopped or paused job run again, with a new budget if there is one.

    Raises:
        InputError: the job has ended, or its budget is used up.
        JobNotFoundError: no job, or several jobs, have that id or name.
    """
    job = store.jobs.find(ref)
    if job.state in ("done", "cancelled"):
        raise InputError(f"{job.id} is {job.state}; archon-batch retry runs its rows again")
    if budget is None and job.state == "paused" and job.budget is not None:
        raise InputError(
            f"{job.id} has reached its budget of {to_usd(job.budget):f} USD; pass a larger --budget"
        )
    paid = NanoUsd(job.spent + job.in_doubt)
    if budget is not None and budget < paid:
        raise InputError(
            f"{job.id} has spent up to {to_usd(paid):f} USD already; pass a larger --budget"
        )
    return store.jobs.resume(job.id, from_states=["paused", "stopped"], budget=budget)


def retry_job(store: Store, ref: str, where: Sequence[RowCondition] = ()) -> tuple[Job, int]:
    """Reopen the failed or cancelled rows that meet all conditions; return the job and their number.

    Raises:
        InputError: no row meets them.
        JobNotFoundError: no job, or several jobs, have that id or name.
    """
    job = store.jobs.find(ref)
    wanted: dict[str, list[str]] = {"reason": [], "status": [], "layer": [], "id": []}
    for condition in where:
        wanted[condition.key].append(condition.value)
    count = store.items.reopen(
        job.id,
        [status for status in REOPENABLE if {status}.issuperset(wanted["status"])],
        reasons=wanted["reason"],
        layers=[int(layer) for layer in wanted["layer"]],
        row_ids=wanted["id"],
    )
    if not count:
        raise InputError(_no_match_message(store, job, where))
    return store.jobs.get(job.id), count


def cancel_job(store: Store, ref: str) -> Job:
    """Cancel the job: no new calls start, calls in flight finish, answers are kept.

    Raises:
        InputError: the job has ended.
        JobNotFoundError: no job, or several jobs, have that id or name.
    """
    job = store.jobs.find(ref)
    if not store.items.cancel_job(job.id):
        raise InputError(f"{job.id} is {store.jobs.get(job.id).state} already")
    return store.jobs.get(job.id)


def _no_match_message(store: Store, job: Job, where: Sequence[RowCondition]) -> str:
    """The error if no row was reopened: what could be reopened instead."""
    failures = store.items.failure_counts(job.id)
    if not failures:
        return f"{job.id} has no failed or cancelled row"
    counts = {status: sum(n for s, _, n in failures if s == status) for status in REOPENABLE}
    rows = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n)
    reasons = [
        f"{n:,} x {' '.join(reason.split())[:_MAX_REASON_CHARS]}"
        for _, reason, n in failures
        if reason
    ]
    hidden = len(reasons) - _MAX_REASONS_SHOWN
    more = [f"and {hidden:,} other reason{'' if hidden == 1 else 's'}"] if hidden > 0 else []
    listed = f" ({'; '.join(reasons[:_MAX_REASONS_SHOWN] + more)})" if reasons else ""
    conditions = " and ".join(map(str, where))
    problem = f"no row matches --where {conditions}" if conditions else "no row can be reopened"
    return f"{job.id}: {problem}; it has {rows}{listed}"
