"""Views of jobs and items as plain data: the shapes of ``--json``."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from archon_batch.archon import (
    Answer,
    CallKey,
    CallsNeeded,
    Candidate,
    Failed,
    ItemTrace,
    Question,
    Reply,
    State,
    WarningKind,
    trace_item,
)
from archon_batch.config import component_types
from archon_batch.errors import ArchitectureError
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.money import to_usd
from archon_batch.store import (
    CallRecord,
    GroupBy,
    ItemResult,
    Job,
    Progress,
    ScheduledRun,
    SearchRecord,
    Store,
    UsageTotals,
)

#: Number of warnings by layer, component and kind.
WarningCounts = Mapping[tuple[int, int, str], int]

#: Words with digits: numbers and ids that differ between requests.
_REQUEST_SPECIFIC = re.compile(r"[\w-]*\d[\w-]*")

_WARNING_KINDS: tuple[str, ...] = get_args(WarningKind)

#: The keys of a job in a listing, for an entry that is no job.
_EMPTY_ENTRY: Mapping[str, Any] = dict.fromkeys(
    ("job", "name", "state", "reason", "dataset", "architecture", "rows", "budget_usd",
     "created_at", "ended_at", "answered", "failed", "open", "cancelled", "usd",
     "in_doubt_usd", "scheduled_run", "search")
)  # fmt: skip


def usd_number(nano: int | None) -> float | None:
    """Nano-dollars as a number of USD that prints with its exact digits."""
    exact = to_usd(nano)
    return None if exact is None else float(exact)


def job_status(store: Store, job: Job) -> dict[str, Any]:
    progress = store.usage.progress(job.id)
    return {
        **job_summary(job),
        **row_counts(progress),
        **_usage_figures(store.usage.total(job.id)),
        "in_flight_usd": usd_number(job.held),
        "overbilling": [seen.describe(model) for model, seen in sorted(job.overbilling.items())],
        "all_failed": all_failed(store, job, progress),
    }


def all_failed(store: Store, job: Job, progress: Progress) -> str | None:
    """The most frequent reason, if all rows of the job failed; else None.

    Reasons that differ only in numbers and ids, which providers add, count as one.
    """
    if not progress.failed or progress.failed < job.rows:
        return None
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for _, reason, count in store.items.failure_counts(job.id):
        pattern = _REQUEST_SPECIFIC.sub("", reason or "")
        first.setdefault(pattern, reason or "no reason is stored")
        counts[pattern] += count
    ((most, count),) = counts.most_common(1)
    if count == job.rows:
        return f"all {job.rows:,} rows failed: {first[most]}"
    return f"all {job.rows:,} rows failed, {count:,} of them: {first[most]}"


def job_cost(store: Store, job: Job, by: GroupBy) -> dict[str, Any]:
    groups = store.usage.by_group(job.id, by)
    warnings = store.usage.warning_counts(job.id) if by == "component" else {}
    if warnings:
        groups = sorted(
            [*groups, *_groups_without_calls(job, groups, warnings)],
            key=lambda group: _component_key(group[0]),
        )
    return {
        "job": job.id,
        "name": job.name,
        **_usage_figures(sum((usage for _, usage in groups), UsageTotals())),
        "budget_usd": usd_number(job.budget),
        "by": [
            {**names, **_usage_figures(usage), **_warning_figures(names, warnings)}
            for names, usage in groups
        ],
    }


def list_jobs(store: Store, *, include_search_jobs: bool = False) -> list[dict[str, Any]]:
    """Jobs, searches, and scheduled runs without a job, the newest first.

    Args:
        store: the database.
        include_search_jobs: whether the jobs of searches are listed too.
    """
    runs = store.scheduled_runs.all()
    run_by_job = {run.job_id: run for run in runs if run.job_id is not None}
    search_by_job = store.searches.search_id_by_job()
    search_jobs: dict[str, list[Job]] = {}
    entries = []
    for job in store.jobs.all():
        search = search_by_job.get(job.id)
        if search is not None:
            search_jobs.setdefault(search, []).append(job)
        if search is None or include_search_jobs:
            entries.append(
                {
                    **job_summary(job),
                    **row_counts(store.usage.progress(job.id)),
                    "usd": usd_number(job.spent),
                    "in_doubt_usd": usd_number(job.in_doubt),
                    "scheduled_run": _scheduled_run_figures(run_by_job.get(job.id)),
                    "search": search,
                }
            )
    entries += [
        _search_entry(search, search_jobs.get(search.id, ())) for search in store.searches.all()
    ]
    entries += [_run_entry(run) for run in runs if run.job_id is None]
    return sorted(entries, key=lambda entry: str(entry["created_at"]), reverse=True)


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


def item_details(store: Store, job: Job, item: ItemResult) -> dict[str, Any]:
    question, replies = store.item_results.question_and_replies(job.id, item.ix)
    calls = [_call_figures(call) for call in store.item_results.calls(job.id, item.ix)]
    trace, trace_error = _replay(job, item, question, replies)
    step = trace.next_step if trace else None
    return {
        "job": job.id,
        "id": item.row_id,
        "status": item.status,
        "messages": [{"role": m.role, "content": m.content} for m in question.messages],
        "answer": item.answer,
        "candidate": step.candidate_id if isinstance(step, Answer) else None,
        "reason": item.reason,
        "seconds": item.seconds,
        **_usage_figures(item.usage),
        "warnings": list(item.warnings),
        "layers": _layer_figures(trace, [call["call"] for call in calls]) if trace else [],
        "trace_error": trace_error,
        "calls_made": calls,
        "missing": [str(call.key) for call in step.calls] if isinstance(step, CallsNeeded) else [],
        "row": dict(item.extras),
    }


def cache_stats(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "model": stats.model,
            "completions": stats.completions,
            "characters": stats.characters,
            "usd": usd_number(stats.cost),
            "oldest": iso_timestamp(stats.oldest),
            "newest": iso_timestamp(stats.newest),
        }
        for stats in store.completion_cache.stats()
    ]


def job_summary(job: Job) -> dict[str, Any]:
    """A job's identity and state."""
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "reason": job.reason,
        "dataset": job.dataset,
        "architecture": job.architecture["name"],
        "rows": job.rows,
        "budget_usd": usd_number(job.budget),
        "created_at": iso_timestamp(job.created_at),
        "ended_at": iso_timestamp(job.ended_at),
    }


def row_counts(progress: Progress) -> dict[str, int]:
    """Number of rows by state."""
    return {
        "answered": progress.answered,
        "failed": progress.failed,
        "open": progress.open,
        "cancelled": progress.cancelled,
    }


def _usage_figures(usage: UsageTotals) -> dict[str, Any]:
    return {
        "usd": usd_number(usage.cost),
        "in_doubt_usd": usd_number(usage.in_doubt_cost),
        "failed_usd": usd_number(usage.failed_cost),
        "reask_usd": usd_number(usage.reask_cost),
        "unused_usd": usd_number(usage.unused_cost),
        "cache_saved_usd": usd_number(usage.cache_saved),
        "unpriced_calls": usage.unpriced_calls,
        "calls": usage.calls,
        "cached_calls": usage.cached_calls,
        "failed_calls": usage.failed_calls,
        "attempts": usage.attempts,
        "attempts_in_doubt": usage.in_doubt,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def _warning_figures(names: Mapping[str, Any], counts: WarningCounts) -> dict[str, int]:
    return (
        {kind: counts.get((*_component_key(names), kind), 0) for kind in _WARNING_KINDS}
        if counts
        else {}
    )


def _groups_without_calls(
    job: Job, groups: Sequence[tuple[Mapping[str, Any], UsageTotals]], counts: WarningCounts
) -> Iterator[tuple[Mapping[str, Any], UsageTotals]]:
    """Components with warnings but without calls, such as voters."""
    for layer, component in sorted(
        {key[:2] for key in counts} - {_component_key(g) for g, _ in groups}
    ):
        kind = job.architecture["layers"][layer][component]["type"]
        yield {"layer": layer, "component": component, "kind": kind, "model": None}, UsageTotals()


def _component_key(names: Mapping[str, Any]) -> tuple[int, int]:
    return names["layer"], names["component"]


def _replay(
    job: Job, item: ItemResult, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[ItemTrace | None, str | None]:
    """Trace the item from its replies, or say why not; neither for a row that was never valid."""
    if not question.messages:
        return None, None
    try:
        trace = trace_item(load_frozen_job(job, component_types()).architecture, question, replies)
    except ArchitectureError as error:
        return None, str(error)
    end = {"answered": Answer, "failed": Failed}.get(item.status)
    text = trace.next_step.text if isinstance(trace.next_step, Answer) else None
    if end and (not isinstance(trace.next_step, end) or text != item.answer):
        return None, "this version of the program computes another answer from the replies"
    return trace, None


def _layer_figures(trace: ItemTrace, calls: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "layer": depth,
            "components": [
                {
                    "component": index,
                    "type": component.type,
                    "model": component.model,
                    "effect": component.description,
                    "warnings": [{"kind": kind, "why": why} for kind, why in component.warnings],
                    "calls": [key for key in calls if CallKey.parse(key)[:2] == (depth, index)],
                }
                for index, component in enumerate(layer.components)
            ],
            **_layer_output(layer.after),
        }
        for depth, layer in enumerate(trace.layers)
    ]


def _layer_output(after: State | None) -> dict[str, Any]:
    if after is None:
        return {"unit_tests": None, "candidates": None}
    return {
        "unit_tests": list(after.unit_tests),
        "candidates": [_candidate_figures(candidate) for candidate in after.candidates],
    }


def _candidate_figures(candidate: Candidate) -> dict[str, Any]:
    tests = candidate.unit_test_results
    return {
        "id": candidate.id,
        "text": candidate.text,
        "parents": list(candidate.parents),
        "critique": candidate.critique,
        "tests": None if tests is None else [verdict._asdict() for verdict in tests],
        "scores": dict(candidate.scores),
    }


def _call_figures(call: CallRecord) -> dict[str, Any]:
    return {
        "call": call.key,
        "component": call.kind,
        "model": call.model,
        "text": call.text,
        "failure": call.failure,
        "finish": call.finish_reason,
        "cached": call.cached,
        "cache_saved_usd": usd_number(call.cache_saved),
        "attempts": [
            {
                "n": attempt.attempt_number,
                "state": attempt.state,
                "outcome": attempt.outcome,
                "why": attempt.detail,
                "usd": usd_number(attempt.cost),
                "estimated": attempt.estimated,
                "prompt_tokens": attempt.prompt_tokens,
                "completion_tokens": attempt.completion_tokens,
                "begun_at": iso_timestamp(attempt.begun_at),
                "ended_at": iso_timestamp(attempt.ended_at),
            }
            for attempt in call.attempts
        ],
    }


def iso_timestamp(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
