"""What people ask of a job, as plain data: the shapes of ``--json``."""

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
from archon_batch.store import CallRecord, GroupBy, ItemResult, Job, Progress, Store, UsageTotals

#: How often what did not go as asked, by layer, component and kind.
WarningCounts = Mapping[tuple[int, int, str], int]

#: What is a request's own in an error's words.
_REQUEST_SPECIFIC = re.compile(r"[\w-]*\d[\w-]*")

_WARNING_KINDS: tuple[str, ...] = get_args(WarningKind)


def usd_number(nano: int | None) -> float | None:
    """Nano-dollars as a number that prints with the digits it has."""
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
    """Why no row of a job has an answer, where all of them were given up; else None.

    Reasons are alike but for numbers and ids in them, which providers give to each request.
    """
    if not progress.failed or progress.failed < job.rows:
        return None
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for _, reason, count in store.items.failure_counts(job.id):
        alike = _REQUEST_SPECIFIC.sub("", reason or "")
        first.setdefault(alike, reason or "no reason is on record")
        counts[alike] += count
    ((most, count),) = counts.most_common(1)
    if count == job.rows:
        return f"all {job.rows:,} rows failed: {first[most]}"
    return f"all {job.rows:,} rows failed, {count:,} of them: {first[most]}"


def job_cost(store: Store, job: Job, by: GroupBy) -> dict[str, Any]:
    groups = store.usage.by_group(job.id, by)
    notes = store.usage.warning_counts(job.id) if by == "component" else {}
    if notes:
        groups = sorted(
            [*groups, *_groups_without_calls(job, groups, notes)],
            key=lambda group: _component_key(group[0]),
        )
    return {
        "job": job.id,
        "name": job.name,
        **_usage_figures(sum((account for _, account in groups), UsageTotals())),
        "budget_usd": usd_number(job.budget),
        "by": [
            {**names, **_usage_figures(account), **_warning_figures(names, notes)}
            for names, account in groups
        ],
    }


def item_details(store: Store, job: Job, item: ItemResult) -> dict[str, Any]:
    question, replies = store.item_results.question_and_replies(job.id, item.ix)
    calls = [_call_figures(line) for line in store.item_results.calls(job.id, item.ix)]
    told, trace_error = _replay(job, item, question, replies)
    step = told.next_step if told else None
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
        "layers": _layer_figures(told, [call["call"] for call in calls]) if told else [],
        "trace_error": trace_error,
        "calls_made": calls,
        "missing": [str(call.key) for call in step.calls] if isinstance(step, CallsNeeded) else [],
        "row": dict(item.extras),
    }


def cache_stats(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "model": one.model,
            "completions": one.completions,
            "characters": one.characters,
            "usd": usd_number(one.cost),
            "oldest": iso_timestamp(one.oldest),
            "newest": iso_timestamp(one.newest),
        }
        for one in store.completion_cache.stats()
    ]


def job_summary(job: Job) -> dict[str, Any]:
    """What a job is, and how it stands."""
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
    """How far a job's rows are."""
    return {
        "answered": progress.answered,
        "failed": progress.failed,
        "open": progress.open,
        "cancelled": progress.cancelled,
    }


def _usage_figures(account: UsageTotals) -> dict[str, Any]:
    return {
        "usd": usd_number(account.cost),
        "in_doubt_usd": usd_number(account.in_doubt_cost),
        "failed_usd": usd_number(account.failed_cost),
        "reask_usd": usd_number(account.reask_cost),
        "unused_usd": usd_number(account.unused_cost),
        "cache_saved_usd": usd_number(account.cache_saved),
        "unpriced_calls": account.unpriced_calls,
        "calls": account.calls,
        "cached_calls": account.cached_calls,
        "failed_calls": account.failed_calls,
        "attempts": account.attempts,
        "attempts_in_doubt": account.in_doubt,
        "prompt_tokens": account.prompt_tokens,
        "completion_tokens": account.completion_tokens,
    }


def _warning_figures(names: Mapping[str, Any], notes: WarningCounts) -> dict[str, int]:
    return (
        {kind: notes.get((*_component_key(names), kind), 0) for kind in _WARNING_KINDS}
        if notes
        else {}
    )


def _groups_without_calls(
    job: Job, groups: Sequence[tuple[Mapping[str, Any], UsageTotals]], notes: WarningCounts
) -> Iterator[tuple[Mapping[str, Any], UsageTotals]]:
    """The components that have notes and made no call, such as voters."""
    for layer, component in sorted(
        {key[:2] for key in notes} - {_component_key(g) for g, _ in groups}
    ):
        kind = job.architecture["layers"][layer][component]["type"]
        yield {"layer": layer, "component": component, "kind": kind, "model": None}, UsageTotals()


def _component_key(names: Mapping[str, Any]) -> tuple[int, int]:
    return names["layer"], names["component"]


def _replay(
    job: Job, ending: ItemResult, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[ItemTrace | None, str | None]:
    """What came of the replies, or why that cannot be told; neither of a row that asks nothing."""
    if not question.messages:
        return None, None
    try:
        told = trace_item(load_frozen_job(job, component_types()).architecture, question, replies)
    except ArchitectureError as error:
        return None, str(error)
    end = {"answered": Answer, "failed": Failed}.get(ending.status)
    text = told.next_step.text if isinstance(told.next_step, Answer) else None
    if end and (not isinstance(told.next_step, end) or text != ending.answer):
        return None, "this version of the program would make something else of its replies"
    return told, None


def _layer_figures(told: ItemTrace, calls: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "layer": depth,
            "components": [
                {
                    "component": place,
                    "type": component.type,
                    "model": component.model,
                    "effect": component.description,
                    "warnings": [{"kind": kind, "why": why} for kind, why in component.warnings],
                    "calls": [key for key in calls if CallKey.parse(key)[:2] == (depth, place)],
                }
                for place, component in enumerate(layer.components)
            ],
            **_layer_output(layer.after),
        }
        for depth, layer in enumerate(told.layers)
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


def _call_figures(line: CallRecord) -> dict[str, Any]:
    return {
        "call": line.key,
        "component": line.kind,
        "model": line.model,
        "text": line.text,
        "failure": line.failure,
        "finish": line.finish_reason,
        "cached": line.cached,
        "cache_saved_usd": usd_number(line.cache_saved),
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
            for attempt in line.attempts
        ],
    }


def iso_timestamp(at: datetime | None) -> str | None:
    """As ISO 8601."""
    return None if at is None else at.isoformat()
