"""What people ask of a job, as plain data: the shapes of ``--json``."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from archon_batch.ledger import usd
from archon_batch.store import Account, By, CallLine, Ending, Job, Progress, Store


def dollars(nano: int | None) -> float | None:
    """Nano-dollars as a number that prints with the digits it has."""
    exact = usd(nano)
    return None if exact is None else float(exact)


def status(store: Store, job: Job) -> dict[str, Any]:
    return {
        **_job(job),
        **_progress(store.accounts.progress(job.id)),
        **_money(store.accounts.total(job.id)),
        "in_flight_usd": dollars(job.reserved),
    }


def jobs(store: Store) -> list[dict[str, Any]]:
    return [
        {
            **_job(job),
            **_progress(store.accounts.progress(job.id)),
            "usd": dollars(job.spent),
            "in_doubt_usd": dollars(job.in_doubt),
        }
        for job in store.jobs.all()
    ]


def cost(store: Store, job: Job, by: By) -> dict[str, Any]:
    groups = store.accounts.by(job.id, by)
    notes = store.accounts.notes(job.id) if by == "component" else {}
    return {
        "job": job.id,
        "name": job.name,
        **_money(store.accounts.total(job.id)),
        "budget_usd": dollars(job.budget),
        "by": [{**names, **_money(account), **_noted(names, notes)} for names, account in groups],
    }


def show(store: Store, job: Job, ending: Ending) -> dict[str, Any]:
    return {
        "job": job.id,
        "id": ending.row_id,
        "status": ending.status,
        "answer": ending.answer,
        "reason": ending.reason,
        "seconds": ending.seconds,
        **_money(ending.account),
        "notes": list(ending.notes),
        "calls_made": [_call(line) for line in store.endings.calls(job.id, ending.ix)],
        "row": dict(ending.extras),
    }


def _job(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "reason": job.reason,
        "dataset": job.dataset,
        "architecture": job.architecture["name"],
        "rows": job.rows,
        "budget_usd": dollars(job.budget),
        "created_at": _moment(job.created_at),
        "ended_at": _moment(job.ended_at),
    }


def _progress(progress: Progress) -> dict[str, int]:
    return {
        "answered": progress.answered,
        "given_up": progress.given_up,
        "open": progress.open,
        "cancelled": progress.cancelled,
    }


def _money(account: Account) -> dict[str, Any]:
    return {
        "usd": dollars(account.cost),
        "in_doubt_usd": dollars(account.in_doubt_cost),
        "lost_usd": dollars(account.lost_cost),
        "saved_usd": dollars(account.saved),
        "unpriced_calls": account.unpriced_calls,
        "calls": account.calls,
        "cached_calls": account.cached_calls,
        "failed_calls": account.failed_calls,
        "attempts": account.attempts,
        "attempts_in_doubt": account.in_doubt,
        "prompt_tokens": account.prompt_tokens,
        "completion_tokens": account.completion_tokens,
    }


def _noted(names: Mapping[str, Any], notes: Mapping[tuple[int, int, str], int]) -> dict[str, int]:
    if not notes:
        return {}
    place = (names["layer"], names["component"])
    return {kind: notes.get((*place, kind), 0) for kind in ("unreadable", "failed", "without")}


def _call(line: CallLine) -> dict[str, Any]:
    return {
        "call": line.key,
        "component": line.kind,
        "model": line.model,
        "text": line.text,
        "failure": line.failure,
        "cached": line.cached,
        "saved_usd": dollars(line.saved),
        "attempts": [
            {
                "n": attempt.n,
                "state": attempt.state,
                "outcome": attempt.outcome,
                "why": attempt.why,
                "usd": dollars(attempt.cost),
                "estimated": attempt.estimated,
                "prompt_tokens": attempt.prompt_tokens,
                "completion_tokens": attempt.completion_tokens,
                "begun_at": _moment(attempt.begun_at),
                "ended_at": _moment(attempt.ended_at),
            }
            for attempt in line.attempts
        ],
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
