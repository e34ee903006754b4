"""Verification: recompute a job's totals from its attempts and its answers from its replies."""

from collections.abc import Iterator
from dataclasses import dataclass

from archon_batch.archon import Answer, CallsNeeded, plan_item
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.money import to_usd
from archon_batch.store import Job, LedgerCheck, Store


@dataclass(frozen=True, slots=True)
class VerifyCheck:
    """One invariant of a job, and whether it holds."""

    name: str
    ok: bool
    detail: str


def verify_job(store: Store, job: Job, frozen_job: FrozenJob) -> Iterator[VerifyCheck]:
    """Check every invariant of the job's ledger."""
    ledger = store.audit.check(job.id)
    yield from _check_money(ledger)
    yield from _check_rows(job, ledger)
    yield _check_none("every reply is cached or paid for", ledger.unpaid_replies, "reply")
    yield _check_none("no answer was lost", ledger.answers_without_reply, "paid answer")
    yield _check_none("no call was sent twice at once", ledger.calls_sent_twice, "call")
    yield _check_paid_twice(ledger)
    yield _check_none("no result is quarantined", store.count_quarantined(job.id), "result")
    # While the job runs, the two queries would see different states.
    if job.state != "running":
        stored, recomputed = (
            {tuple(names.values()): usage for names, usage in groups}
            for groups in (
                store.usage.by_group(job.id, "component"), store.usage.recomputed(job.id, "component")
            )
        )  # fmt: skip
        wrong = sum(
            stored.get(key) != recomputed.get(key) for key in stored.keys() | recomputed.keys()
        )
        yield _check_none("stored totals match the attempts", wrong, "total")
    yield _check_answers(store, job, frozen_job)


def _check_none(name: str, wrong: int, noun: str) -> VerifyCheck:
    return VerifyCheck(name, not wrong, _wrong_text(wrong, noun))


def _check_paid_twice(ledger: LedgerCheck) -> VerifyCheck:
    """A call may be paid twice after an attempt in doubt, or after a retry by the operator."""
    detail = _wrong_text(ledger.calls_paid_twice, "call")
    if ledger.calls_paid_late:
        detail += f"; paid twice because an answer came late: {ledger.calls_paid_late}"
    name = "no call was paid twice without a reason"
    return VerifyCheck(name, not ledger.calls_paid_twice, detail)


def _check_money(ledger: LedgerCheck) -> Iterator[VerifyCheck]:
    names = ("spent", "in flight", "in doubt")
    for name, recomputed, stored in zip(names, ledger.recomputed, ledger.stored, strict=True):
        detail = f"{to_usd(recomputed):f} USD"
        if recomputed != stored:
            detail += f" by the attempts, {to_usd(stored):f} by the job"
        yield VerifyCheck(f"money {name}", recomputed == stored, detail)
    total = sum(ledger.recomputed)
    limit = "none" if ledger.budget is None else f"{to_usd(ledger.budget):f} USD"
    detail = f"{to_usd(total):f} of {limit}"
    over = 0 if ledger.budget is None else max(0, total - ledger.budget)
    if over and over <= ledger.overrun_cost:
        # Admission keeps every call within the budget, but the provider decides what it bills.
        count = ledger.overrun_attempts
        detail = (
            f"over the budget by {to_usd(over):f} USD: the provider billed more than the request "
            f"allowed for {count} {'reply' if count == 1 else 'replies'}"
        )
    yield VerifyCheck("within the budget", over <= ledger.overrun_cost, detail)


def _check_rows(job: Job, ledger: LedgerCheck) -> Iterator[VerifyCheck]:
    counts = ledger.items_by_status
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    yield VerifyCheck(
        "every row is open or has one final state",
        sum(counts.values()) == ledger.rows,
        listed or "no row",
    )
    yield _check_none("every row fits its state", ledger.inconsistent_items, "row")
    ended = job.state in ("done", "cancelled")
    yield VerifyCheck(
        "a done or cancelled job has no open row",
        not (ended and counts.get("open", 0)),
        job.state,
    )


def _check_answers(store: Store, job: Job, frozen_job: FrozenJob) -> VerifyCheck:
    """Plan every final row again from its replies, and compare the answers."""
    wrong: list[str] = []
    count = 0
    for item in store.item_results.all(job.id):
        if item.status not in ("answered", "failed"):
            continue
        question, replies = store.item_results.question_and_replies(job.id, item.ix)
        if not question.messages:
            continue
        count += 1
        step = plan_item(frozen_job.architecture, question, replies)
        text = step.text if isinstance(step, Answer) else None
        if isinstance(step, CallsNeeded) or text != item.answer:
            wrong.append(item.row_id)
    detail = f"{count} row{'s' * (count != 1)} recomputed"
    if wrong:
        detail = f"{len(wrong)} of {count} differ, such as row {wrong[0]}"
    return VerifyCheck("answers follow from their replies", not wrong, detail)


def _wrong_text(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)} wrong" if count else "ok"
