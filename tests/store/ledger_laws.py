"""The ledger's law: what must be so at every moment, whatever has befallen it.

First what holds of the record by itself; then, told twice over, that it is what was told to it.
"""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from archon_batch.store import AttemptRequest, GroupBy, Store, schema
from archon_batch.store.compiled_sql import ResultRow
from tests.store.ledger_books import Books


@dataclass(frozen=True)
class Seen:
    """All that is on record at one moment."""

    jobs: dict[str, ResultRow]
    items: dict[tuple[str, int], ResultRow]
    calls: dict[tuple[str, int, str], ResultRow]
    attempts: dict[tuple[str, int, str, int], ResultRow]
    completions: dict[str, ResultRow]

    @classmethod
    def of(cls, store: Store) -> "Seen":
        with store.database.read_transaction() as connection:
            jobs, items, calls, attempts, completions = (
                connection.execute(sa.select(table)).all()
                for table in (
                    schema.jobs, schema.items, schema.calls, schema.attempts, schema.completions
                )
            )  # fmt: skip
        return cls(
            {j.id: j for j in jobs},
            {(i.job_id, i.ix): i for i in items},
            {(c.job_id, c.ix, c.key): c for c in calls},
            {(a.job_id, a.ix, a.key, a.n): a for a in attempts},
            {c.fingerprint: c for c in completions},
        )

    def of_job(self, job: str, *states: str) -> list[ResultRow]:
        return [a for a in self.attempts.values() if a.job_id == job and a.state in states]


def agree(what: str, found: object, told: object) -> None:
    assert found == told, f"{what}: {found}, and by the books {told}"


def a_job_s_money_is_what_its_attempts_add_up_to(seen: Seen, job: str) -> None:
    record = seen.jobs[job]
    every = seen.of_job(job, "sending", "billed", "not_sent", "not_billed", "in_doubt")
    assert record.spent == sum(a.cost or 0 for a in every)
    assert record.reserved == sum(a.reserve for a in seen.of_job(job, "sending"))
    assert record.in_doubt == sum(a.reserve for a in seen.of_job(job, "in_doubt"))


def a_budget_is_never_exceeded(seen: Seen, books: Books, job: str) -> None:
    """Only a budget that is set below what is committed already has more against it."""
    record, ceiling = seen.jobs[job], books.jobs[job].ceiling
    if ceiling is not None:
        committed = record.spent + record.reserved + record.in_doubt
        assert committed <= ceiling, f"{job} has committed {committed} of {ceiling}"


def the_bill_is_covered(seen: Seen, books: Books, job: str) -> None:
    """Whatever a provider may want to be paid is paid, kept back or in doubt."""
    record = seen.jobs[job]
    committed = record.spent + record.reserved + record.in_doubt
    bill = books.bill(job)
    assert bill <= committed, f"the bill of {job} may be {bill}, the ledger has {committed}"


def the_money_is_what_was_told(seen: Seen, books: Books, job: str) -> None:
    """What answers cost, and the highest prices of what is in flight and in doubt."""
    record = seen.jobs[job]
    money = record.spent, record.reserved, record.in_doubt
    agree(f"{job}'s money", money, (books.spent(job), books.reserved(job), books.in_doubt(job)))


def a_call_is_on_the_wire_once(seen: Seen) -> None:
    wire = Counter((a.job_id, a.ix, a.key) for a in seen.attempts.values() if a.state == "sending")
    assert not wire or max(wire.values()) == 1


def a_request_is_on_the_wire_once_where_replies_are_shared(seen: Seen, books: Books) -> None:
    wire = Counter(
        a.fingerprint
        for a in seen.attempts.values()
        if a.state == "sending" and books.jobs[a.job_id].reuse
    )
    assert not wire or max(wire.values()) == 1


def attempts_are_numbered_and_none_is_lost(seen: Seen, before: Seen) -> None:
    """What has ended stays as it ended; only what is in doubt may still turn out."""
    for (*call, n), attempt in seen.attempts.items():
        assert n == 1 or (*call, n - 1) in seen.attempts
        assert (attempt.ended_at is None) == (attempt.state == "sending")
    for key, was in before.attempts.items():
        now = seen.attempts[key]
        for name in ("fingerprint", "owner", "reserve", "begun_at", "expires_at"):
            assert getattr(now, name) == getattr(was, name)
        assert now.counts <= was.counts
        if was.state in ("billed", "not_sent", "not_billed"):
            assert {**was._mapping, "counts": now.counts} == dict(now._mapping)
        if was.state == "in_doubt":
            assert now.state != "sending"


def what_is_settled_stays(seen: Seen, before: Seen, opened: AbstractSet[tuple[str, int]]) -> None:
    """The first reply to a call, the first end of an item, until the item is opened again."""
    for row, call in before.calls.items():
        if row[:2] not in opened:
            assert tuple(seen.calls[row]) == tuple(call)
    for at, item in before.items.items():
        if item.status != "open" and at not in opened:
            assert tuple(seen.items[at]) == tuple(item)
    for fingerprint, completion in before.completions.items():
        assert tuple(seen.completions[fingerprint]) == tuple(completion)


def a_completion_is_never_another_request_s(seen: Seen) -> None:
    for kept in (*seen.calls.values(), *seen.completions.values()):
        if kept.text and kept.text.strip():
            assert kept.text.startswith(kept.fingerprint)


def the_attempts_are_what_was_told(seen: Seen, books: Books) -> None:
    found = {
        key: (
            a.state, a.outcome, a.reserve, a.cost, a.estimated, a.counts, a.fingerprint,
            a.prompt_tokens, a.completion_tokens,
        )
        for key, a in seen.attempts.items()
    }  # fmt: skip
    told = {
        (*t.start.call.as_tuple, t.n): (
            t.state, t.outcome, t.most, t.cost, t.estimated, t.counts, t.start.fingerprint,
            t.usage.prompt_tokens, t.usage.completion_tokens,
        )
        for t in books.all()
    }  # fmt: skip
    agree("attempts", found, told)


def the_replies_are_what_was_told(seen: Seen, books: Books) -> None:
    found = {
        row: (c.fingerprint, c.text, c.failure is not None, c.cached, c.saved)
        for row, c in seen.calls.items()
    }
    told = {
        row: (k.start.fingerprint, k.text, k.failed, k.found, k.saved)
        for row, k in books.replies.items()
    }
    agree("replies", found, told)


def the_completions_are_what_was_told(seen: Seen, books: Books) -> None:
    agree(
        "completions",
        {fingerprint: (c.text, c.cost) for fingerprint, c in seen.completions.items()},
        books.completions,
    )


def the_jobs_and_items_are_what_was_told(seen: Seen, books: Books) -> None:
    jobs = {j.id: (j.state, j.budget, j.rows) for j in seen.jobs.values()}
    agree("jobs", jobs, {id_: (j.state, j.budget, len(j.items)) for id_, j in books.jobs.items()})
    for job in seen.jobs.values():
        assert (job.ended_at is None) == (job.state in ("running", "paused", "stopped"))
    items = {row: (i.status, i.answer, i.reason) for row, i in seen.items.items()}
    told = {
        (job, ix): (i.status, i.answer, i.reason)
        for job, book in books.jobs.items()
        for ix, i in enumerate(book.items)
    }
    agree("items", items, told)
    for item in seen.items.values():
        assert (item.ended_at is None) == (item.status == "open")


def the_accounts_are_what_was_told(store: Store, books: Books, job: str, group: GroupBy) -> None:
    def names(start: AttemptRequest) -> tuple[Any, ...]:
        layer, component, *_ = start.call.key
        return {
            "model": (start.model,),
            "layer": (layer,),
            "component": (layer, component, start.kind, start.model),
        }[group]

    found = {tuple(name.values()): account for name, account in store.usage.by_group(job, group)}
    agree(f"accounts of {job}", found, books.accounts(job, names))


def the_sums_are_those_of_the_entries(store: Store, job: str) -> None:
    kept, added = store.usage.by_group(job, "component"), store.usage.recomputed(job, "component")
    agree(f"accounts of {job}, added up", added, kept)
