"""What people ask of a job, as plain data: the shapes of ``--json``."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from archon_batch.archon import (
    Answer,
    Ask,
    CallKey,
    Candidate,
    GaveUp,
    NoteKind,
    Question,
    Reply,
    State,
    Story,
    story_of,
)
from archon_batch.config import component_kinds
from archon_batch.errors import ArchitectureError
from archon_batch.jobs.frozen_job import running
from archon_batch.money import usd
from archon_batch.store import Account, By, CallLine, Ending, Job, Progress, Store

#: How often what did not go as asked, by layer, component and kind.
Notes = Mapping[tuple[int, int, str], int]

#: What is a request's own in an error's words.
_OWN = re.compile(r"[\w-]*\d[\w-]*")

_KINDS: tuple[str, ...] = get_args(NoteKind)


def dollars(nano: int | None) -> float | None:
    """Nano-dollars as a number that prints with the digits it has."""
    exact = usd(nano)
    return None if exact is None else float(exact)


def status(store: Store, job: Job) -> dict[str, Any]:
    progress = store.accounts.progress(job.id)
    return {
        **head(job),
        **rows(progress),
        **_money(store.accounts.total(job.id)),
        "in_flight_usd": dollars(job.reserved),
        "exceeding": [seen.told(model) for model, seen in sorted(job.beyond.items())],
        "all_failed": all_failed(store, job, progress),
    }


def all_failed(store: Store, job: Job, progress: Progress) -> str | None:
    """Why no row of a job has an answer, where all of them were given up; else None.

    Reasons are alike but for numbers and ids in them, which providers give to each request.
    """
    if not progress.given_up or progress.given_up < job.rows:
        return None
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for _, reason, count in store.items.reasons(job.id):
        alike = _OWN.sub("", reason or "")
        first.setdefault(alike, reason or "no reason is on record")
        counts[alike] += count
    ((most, count),) = counts.most_common(1)
    if count == job.rows:
        return f"all {job.rows:,} rows failed: {first[most]}"
    return f"all {job.rows:,} rows failed, {count:,} of them: {first[most]}"


def cost(store: Store, job: Job, by: By) -> dict[str, Any]:
    groups = store.accounts.by(job.id, by)
    notes = store.accounts.notes(job.id) if by == "component" else {}
    if notes:
        groups = sorted([*groups, *_silent(job, groups, notes)], key=lambda group: _place(group[0]))
    return {
        "job": job.id,
        "name": job.name,
        **_money(sum((account for _, account in groups), Account())),
        "budget_usd": dollars(job.budget),
        "by": [{**names, **_money(account), **_noted(names, notes)} for names, account in groups],
    }


def show(store: Store, job: Job, ending: Ending) -> dict[str, Any]:
    question, replies = store.endings.on_record(job.id, ending.ix)
    calls = [_call(line) for line in store.endings.calls(job.id, ending.ix)]
    told, untold = _story(job, ending, question, replies)
    step = told.step if told else None
    return {
        "job": job.id,
        "id": ending.row_id,
        "status": ending.status,
        "messages": [{"role": m.role, "content": m.content} for m in question.messages],
        "answer": ending.answer,
        "candidate": step.candidate if isinstance(step, Answer) else None,
        "reason": ending.reason,
        "seconds": ending.seconds,
        **_money(ending.account),
        "notes": list(ending.notes),
        "layers": _layers(told, [call["call"] for call in calls]) if told else [],
        "untold": untold,
        "calls_made": calls,
        "missing": [str(call.key) for call in step.calls] if isinstance(step, Ask) else [],
        "row": dict(ending.extras),
    }


def kept(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "model": one.model,
            "completions": one.completions,
            "characters": one.characters,
            "usd": dollars(one.cost),
            "oldest": moment(one.oldest),
            "newest": moment(one.newest),
        }
        for one in store.completions.kept()
    ]


def head(job: Job) -> dict[str, Any]:
    """What a job is, and how it stands."""
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "reason": job.reason,
        "dataset": job.dataset,
        "architecture": job.architecture["name"],
        "rows": job.rows,
        "budget_usd": dollars(job.budget),
        "created_at": moment(job.created_at),
        "ended_at": moment(job.ended_at),
    }


def rows(progress: Progress) -> dict[str, int]:
    """How far a job's rows are."""
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
        "again_usd": dollars(account.again_cost),
        "dropped_usd": dollars(account.dropped_cost),
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


def _noted(names: Mapping[str, Any], notes: Notes) -> dict[str, int]:
    return {kind: notes.get((*_place(names), kind), 0) for kind in _KINDS} if notes else {}


def _silent(
    job: Job, groups: Sequence[tuple[Mapping[str, Any], Account]], notes: Notes
) -> Iterator[tuple[Mapping[str, Any], Account]]:
    """The components that have notes and made no call, such as voters."""
    for layer, component in sorted({key[:2] for key in notes} - {_place(g) for g, _ in groups}):
        kind = job.architecture["layers"][layer][component]["type"]
        yield {"layer": layer, "component": component, "kind": kind, "model": None}, Account()


def _place(names: Mapping[str, Any]) -> tuple[int, int]:
    return names["layer"], names["component"]


def _story(
    job: Job, ending: Ending, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[Story | None, str | None]:
    """What came of the replies, or why that cannot be told; neither of a row that asks nothing."""
    if not question.messages:
        return None, None
    try:
        told = story_of(running(job, component_kinds()).architecture, question, replies)
    except ArchitectureError as error:
        return None, str(error)
    end = {"answered": Answer, "given_up": GaveUp}.get(ending.status)
    text = told.step.text if isinstance(told.step, Answer) else None
    if end and (not isinstance(told.step, end) or text != ending.answer):
        return None, "this version of the program would make something else of its replies"
    return told, None


def _layers(told: Story, calls: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "layer": depth,
            "components": [
                {
                    "component": place,
                    "type": component.type,
                    "model": component.model,
                    "did": component.did,
                    "notes": [{"kind": kind, "why": why} for kind, why in component.remarks],
                    "calls": [key for key in calls if CallKey.parse(key)[:2] == (depth, place)],
                }
                for place, component in enumerate(layer.components)
            ],
            **_left(layer.after),
        }
        for depth, layer in enumerate(told.layers)
    ]


def _left(after: State | None) -> dict[str, Any]:
    if after is None:
        return {"unit_tests": None, "candidates": None}
    return {
        "unit_tests": list(after.unit_tests),
        "candidates": [_candidate(candidate) for candidate in after.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    tests = candidate.tests
    return {
        "id": candidate.id,
        "text": candidate.text,
        "parents": list(candidate.parents),
        "critique": candidate.critique,
        "tests": None if tests is None else [verdict._asdict() for verdict in tests],
        "scores": dict(candidate.scores),
    }


def _call(line: CallLine) -> dict[str, Any]:
    return {
        "call": line.key,
        "component": line.kind,
        "model": line.model,
        "text": line.text,
        "failure": line.failure,
        "finish": line.finish,
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
                "begun_at": moment(attempt.begun_at),
                "ended_at": moment(attempt.ended_at),
            }
            for attempt in line.attempts
        ],
    }


def moment(at: datetime | None) -> str | None:
    """As ISO 8601."""
    return None if at is None else at.isoformat()
