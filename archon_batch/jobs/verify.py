"""A verification: every entry of a job added up again, and every end worked out again."""

from collections.abc import Iterator
from dataclasses import dataclass

from archon_batch.archon import Answer, Ask, plan
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.money import usd
from archon_batch.store import Books, Job, Store


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    ok: bool
    found: str


def verify(store: Store, job: Job, running: RunningJob) -> Iterator[Check]:
    """Every invariant of the job's books, and whether it holds."""
    books = store.audit.books(job.id)
    yield from _money(books)
    yield from _rows(job, books)
    yield Check(
        "every reply was found or paid for", not books.unpaid, _how_many(books.unpaid, "reply")
    )
    yield Check(
        "no answer was lost", not books.unanswered, _how_many(books.unanswered, "paid answer")
    )
    yield Check("no call is sent twice at once", not books.twice, _how_many(books.twice, "call"))
    yield _twice(books)
    aside = store.aside(job.id)
    yield Check("no end is kept aside", not aside, _how_many(aside, "end"))
    # Of a job that runs, the two would be of two moments.
    if job.state != "running":
        told, added = (
            {tuple(names.values()): account for names, account in groups}
            for groups in (
                store.accounts.by(job.id, "component"), store.accounts.added(job.id, "component")
            )
        )  # fmt: skip
        wrong = sum(told.get(key) != added.get(key) for key in told.keys() | added.keys())
        yield Check("accounts are what the entries come to", not wrong, _how_many(wrong, "account"))
    yield _ends(store, job, running)


def _twice(books: Books) -> Check:
    """Whether each call that is paid for twice was in doubt, or asked again by the operator."""
    found = _how_many(books.paid_again, "call")
    if books.paid_late:
        found += f"; paid twice, since an answer came late: {books.paid_late}"
    return Check("no call is paid twice without a reason", not books.paid_again, found)


def _money(books: Books) -> Iterator[Check]:
    names = ("spent", "in flight", "in doubt")
    for name, added, written in zip(names, books.added, books.written, strict=True):
        found = f"{usd(added):f} USD"
        if added != written:
            found += f" by its entries, {usd(written):f} by the job"
        yield Check(f"money {name}", added == written, found)
    total = sum(books.added)
    limit = "none" if books.budget is None else f"{usd(books.budget):f} USD"
    found = f"{usd(total):f} of {limit}"
    over = 0 if books.budget is None else max(0, total - books.budget)
    if over and over <= books.exceeded:
        # What begins is within the budget by what is kept back; of the bill the provider decides.
        found = (
            f"over the budget by {usd(over):f} USD, since the provider billed more than was asked "
            f"for: {_counted(books.exceeding, 'reply', 'replies')}"
        )
    yield Check("within the budget", over <= books.exceeded, found)


def _rows(job: Job, books: Books) -> Iterator[Check]:
    count = sum(books.items.values())
    told = ", ".join(f"{number} {status}" for status, number in sorted(books.items.items()))
    yield Check("every row has one outcome or is open", count == books.rows, told or "no row")
    yield Check("outcomes are whole", not books.halves, _how_many(books.halves, "row"))
    left = books.items.get("open", 0)
    over = job.state in ("done", "cancelled")
    yield Check("a job that is done or cancelled has no open row", not (over and left), job.state)


def _ends(store: Store, job: Job, running: RunningJob) -> Check:
    """Whether every answer is what its replies come to."""
    wrong: list[str] = []
    seen = 0
    for ending in store.endings.all(job.id):
        if ending.status not in ("answered", "given_up"):
            continue
        question, replies = store.endings.on_record(job.id, ending.ix)
        if not question.messages:
            continue
        seen += 1
        step = plan(running.architecture, question, replies)
        text = step.text if isinstance(step, Answer) else None
        if isinstance(step, Ask) or text != ending.answer:
            wrong.append(ending.row_id)
    found = f"{seen} row{'s' * (seen != 1)} worked out again"
    if wrong:
        found = f"{len(wrong)} of {seen} differ, such as row {wrong[0]}"
    return Check("answers follow from their replies", not wrong, found)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _how_many(count: int, what: str) -> str:
    return "none is amiss" if not count else f"{count} {what}{'s' * (count > 1)} amiss"
