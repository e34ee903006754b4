"""The invariants of the ledger, which hold after every step.

The first ones hold for the database alone; the other ones compare the database with the model.
"""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from archon_batch.store import AttemptRequest, GroupBy, Store, schema
from archon_batch.store.compiled_sql import ResultRow
from tests.store.ledger_model import LedgerModel


@dataclass(frozen=True)
class Snapshot:
    """The whole database at one moment."""

    jobs: dict[str, ResultRow]
    items: dict[tuple[str, int], ResultRow]
    calls: dict[tuple[str, int, str], ResultRow]
    attempts: dict[tuple[str, int, str, int], ResultRow]
    completions: dict[str, ResultRow]

    @classmethod
    def of(cls, store: Store) -> "Snapshot":
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
            {(a.job_id, a.ix, a.key, a.attempt_number): a for a in attempts},
            {c.fingerprint: c for c in completions},
        )

    def of_job(self, job: str, *states: str) -> list[ResultRow]:
        return [a for a in self.attempts.values() if a.job_id == job and a.state in states]


def agree(what: str, found: object, told: object) -> None:
    assert found == told, f"{what}: {found}, the model has {told}"


def money_of_a_job_is_the_sum_of_its_attempts(seen: Snapshot, job: str) -> None:
    record = seen.jobs[job]
    every = seen.of_job(job, "sending", "billed", "not_sent", "not_billed", "in_doubt")
    assert record.spent == sum(a.cost or 0 for a in every)
    assert record.held == sum(a.hold for a in seen.of_job(job, "sending"))
    assert record.in_doubt == sum(a.hold for a in seen.of_job(job, "in_doubt"))


def budget_is_never_exceeded(seen: Snapshot, model: LedgerModel, job: str) -> None:
    """The committed money exceeds a budget only if the budget was lowered below it."""
    record, ceiling = seen.jobs[job], model.jobs[job].ceiling
    if ceiling is not None:
        committed = record.spent + record.held + record.in_doubt
        assert committed <= ceiling, f"{job} has committed {committed} of {ceiling}"


def bill_is_covered(seen: Snapshot, model: LedgerModel, job: str) -> None:
    """What providers may bill is spent, held or in doubt."""
    record = seen.jobs[job]
    committed = record.spent + record.held + record.in_doubt
    bill = model.bill(job)
    assert bill <= committed, f"the bill of {job} may be {bill}, the ledger has {committed}"


def money_equals_the_model(seen: Snapshot, model: LedgerModel, job: str) -> None:
    """The costs of answers, and the holds of attempts in flight and in doubt."""
    record = seen.jobs[job]
    money = record.spent, record.held, record.in_doubt
    agree(f"{job}'s money", money, (model.spent(job), model.held(job), model.in_doubt(job)))


def call_is_in_flight_once(seen: Snapshot) -> None:
    wire = Counter((a.job_id, a.ix, a.key) for a in seen.attempts.values() if a.state == "sending")
    assert not wire or max(wire.values()) == 1


def cached_request_is_in_flight_once(seen: Snapshot, model: LedgerModel) -> None:
    wire = Counter(
        a.fingerprint
        for a in seen.attempts.values()
        if a.state == "sending" and model.jobs[a.job_id].reuse
    )
    assert not wire or max(wire.values()) == 1


def attempts_are_numbered_and_kept(seen: Snapshot, before: Snapshot) -> None:
    """A settled attempt does not change, unless it was in doubt."""
    for (*call, n), attempt in seen.attempts.items():
        assert n == 1 or (*call, n - 1) in seen.attempts
        assert (attempt.ended_at is None) == (attempt.state == "sending")
    for key, was in before.attempts.items():
        now = seen.attempts[key]
        for name in ("fingerprint", "owner", "hold", "begun_at", "expires_at"):
            assert getattr(now, name) == getattr(was, name)
        assert now.counted <= was.counted
        if was.state in ("billed", "not_sent", "not_billed"):
            assert {**was._mapping, "counted": now.counted} == dict(now._mapping)
        if was.state == "in_doubt":
            assert now.state != "sending"


def settled_rows_do_not_change(
    seen: Snapshot, before: Snapshot, opened: AbstractSet[tuple[str, int]]
) -> None:
    """The first reply of a call and the first result of an item are kept until a retry."""
    for row, call in before.calls.items():
        if row[:2] not in opened:
            assert tuple(seen.calls[row]) == tuple(call)
    for at, item in before.items.items():
        if item.status != "open" and at not in opened:
            assert tuple(seen.items[at]) == tuple(item)
    for fingerprint, completion in before.completions.items():
        assert tuple(seen.completions[fingerprint]) == tuple(completion)


def completion_belongs_to_its_request(seen: Snapshot) -> None:
    for kept in (*seen.calls.values(), *seen.completions.values()):
        if kept.text and kept.text.strip():
            assert kept.text.startswith(kept.fingerprint)


def attempts_equal_the_model(seen: Snapshot, model: LedgerModel) -> None:
    found = {
        key: (
            a.state, a.outcome, a.hold, a.cost, a.estimated, a.counted, a.fingerprint,
            a.prompt_tokens, a.completion_tokens,
        )
        for key, a in seen.attempts.items()
    }  # fmt: skip
    told = {
        (*t.start.call.as_tuple, t.n): (
            t.state, t.outcome, t.most, t.cost, t.estimated, t.counts, t.start.fingerprint,
            t.usage.prompt_tokens, t.usage.completion_tokens,
        )
        for t in model.all()
    }  # fmt: skip
    agree("attempts", found, told)


def replies_equal_the_model(seen: Snapshot, model: LedgerModel) -> None:
    found = {
        row: (c.fingerprint, c.text, c.failure is not None, c.cached, c.cache_saved)
        for row, c in seen.calls.items()
    }
    told = {
        row: (k.start.fingerprint, k.text, k.failed, k.found, k.saved)
        for row, k in model.replies.items()
    }
    agree("replies", found, told)


def completions_equal_the_model(seen: Snapshot, model: LedgerModel) -> None:
    agree(
        "completions",
        {fingerprint: (c.text, c.cost) for fingerprint, c in seen.completions.items()},
        model.completions,
    )


def jobs_and_items_equal_the_model(seen: Snapshot, model: LedgerModel) -> None:
    jobs = {j.id: (j.state, j.budget, j.rows) for j in seen.jobs.values()}
    agree("jobs", jobs, {id_: (j.state, j.budget, len(j.items)) for id_, j in model.jobs.items()})
    for job in seen.jobs.values():
        assert (job.ended_at is None) == (job.state in ("running", "paused", "stopped"))
    items = {row: (i.status, i.answer, i.reason) for row, i in seen.items.items()}
    told = {
        (job, ix): (i.status, i.answer, i.reason)
        for job, book in model.jobs.items()
        for ix, i in enumerate(book.items)
    }
    agree("items", items, told)
    for item in seen.items.values():
        assert (item.ended_at is None) == (item.status == "open")


def totals_equal_the_model(store: Store, model: LedgerModel, job: str, group: GroupBy) -> None:
    def names(start: AttemptRequest) -> tuple[Any, ...]:
        layer, component, *_ = start.call.key
        return {
            "model": (start.model,),
            "layer": (layer,),
            "component": (layer, component, start.kind, start.model),
        }[group]

    found = {tuple(name.values()): account for name, account in store.usage.by_group(job, group)}
    agree(f"accounts of {job}", found, model.accounts(job, names))


def totals_equal_the_recomputed_totals(store: Store, job: str) -> None:
    kept, added = store.usage.by_group(job, "component"), store.usage.recomputed(job, "component")
    agree(f"accounts of {job}, added up", added, kept)
