"""A verification: every entry of a job added up again, and every end worked out again."""

from collections.abc import Iterator
from dataclasses import dataclass

from archon_batch.archon import Answer, CallsNeeded, plan_item
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.money import to_usd
from archon_batch.store import Job, LedgerCheck, Store


@dataclass(frozen=True, slots=True)
class VerifyCheck:
    name: str
    ok: bool
    detail: str


def verify_job(store: Store, job: Job, frozen_job: FrozenJob) -> Iterator[VerifyCheck]:
    """Every invariant of the job's books, and whether it holds."""
    books = store.audit.check(job.id)
    yield from _check_money(books)
    yield from _check_rows(job, books)
    yield VerifyCheck(
        "every reply was found or paid for",
        not books.unpaid_replies,
        _problem_count(books.unpaid_replies, "reply"),
    )
    yield VerifyCheck(
        "no answer was lost",
        not books.answers_without_reply,
        _problem_count(books.answers_without_reply, "paid answer"),
    )
    yield VerifyCheck(
        "no call is sent twice at once",
        not books.calls_sent_twice,
        _problem_count(books.calls_sent_twice, "call"),
    )
    yield _check_paid_twice(books)
    aside = store.count_quarantined(job.id)
    yield VerifyCheck("no end is kept aside", not aside, _problem_count(aside, "end"))
    # Of a job that runs, the two would be of two moments.
    if job.state != "running":
        told, added = (
            {tuple(names.values()): account for names, account in groups}
            for groups in (
                store.usage.by_group(job.id, "component"), store.usage.recomputed(job.id, "component")
            )
        )  # fmt: skip
        wrong = sum(told.get(key) != added.get(key) for key in told.keys() | added.keys())
        yield VerifyCheck(
            "accounts are what the entries come to", not wrong, _problem_count(wrong, "account")
        )
    yield _check_answers(store, job, frozen_job)


def _check_paid_twice(books: LedgerCheck) -> VerifyCheck:
    """Whether each call that is paid for twice was in doubt, or asked again by the operator."""
    found = _problem_count(books.calls_paid_twice, "call")
    if books.calls_paid_late:
        found += f"; paid twice, since an answer came late: {books.calls_paid_late}"
    return VerifyCheck("no call is paid twice without a reason", not books.calls_paid_twice, found)


def _check_money(books: LedgerCheck) -> Iterator[VerifyCheck]:
    names = ("spent", "in flight", "in doubt")
    for name, added, written in zip(names, books.recomputed, books.stored, strict=True):
        found = f"{to_usd(added):f} USD"
        if added != written:
            found += f" by its entries, {to_usd(written):f} by the job"
        yield VerifyCheck(f"money {name}", added == written, found)
    total = sum(books.recomputed)
    limit = "none" if books.budget is None else f"{to_usd(books.budget):f} USD"
    found = f"{to_usd(total):f} of {limit}"
    over = 0 if books.budget is None else max(0, total - books.budget)
    if over and over <= books.overrun_cost:
        # What begins is within the budget by what is kept back; of the bill the provider decides.
        found = (
            f"over the budget by {to_usd(over):f} USD, since the provider billed more than was asked "
            f"for: {_count_text(books.overrun_attempts, 'reply', 'replies')}"
        )
    yield VerifyCheck("within the budget", over <= books.overrun_cost, found)


def _check_rows(job: Job, books: LedgerCheck) -> Iterator[VerifyCheck]:
    count = sum(books.items_by_status.values())
    told = ", ".join(
        f"{number} {status}" for status, number in sorted(books.items_by_status.items())
    )
    yield VerifyCheck("every row has one outcome or is open", count == books.rows, told or "no row")
    yield VerifyCheck(
        "outcomes are whole",
        not books.inconsistent_items,
        _problem_count(books.inconsistent_items, "row"),
    )
    left = books.items_by_status.get("open", 0)
    over = job.state in ("done", "cancelled")
    yield VerifyCheck(
        "a job that is done or cancelled has no open row", not (over and left), job.state
    )


def _check_answers(store: Store, job: Job, frozen_job: FrozenJob) -> VerifyCheck:
    """Whether every answer is what its replies come to."""
    wrong: list[str] = []
    seen = 0
    for ending in store.item_results.all(job.id):
        if ending.status not in ("answered", "failed"):
            continue
        question, replies = store.item_results.question_and_replies(job.id, ending.ix)
        if not question.messages:
            continue
        seen += 1
        step = plan_item(frozen_job.architecture, question, replies)
        text = step.text if isinstance(step, Answer) else None
        if isinstance(step, CallsNeeded) or text != ending.answer:
            wrong.append(ending.row_id)
    found = f"{seen} row{'s' * (seen != 1)} worked out again"
    if wrong:
        found = f"{len(wrong)} of {seen} differ, such as row {wrong[0]}"
    return VerifyCheck("answers follow from their replies", not wrong, found)


def _count_text(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _problem_count(count: int, what: str) -> str:
    return "none is amiss" if not count else f"{count} {what}{'s' * (count > 1)} amiss"
