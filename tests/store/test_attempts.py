"""Attempts are recorded before they are sent, settled once, and covered by the budget."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from archon_batch.archon import Failed, Reply
from archon_batch.errors import Billing, StoreError
from archon_batch.money import NanoUsd
from archon_batch.store import (
    Admitted,
    AlreadySettled,
    BudgetExhausted,
    BudgetWait,
    CacheHit,
    DuplicateInFlight,
    JobNotRunning,
    PoisonPill,
    Store,
    now,
    schema,
)
from archon_batch.store.admission import MAX_PROCESS_DEATHS, admit
from archon_batch.store.settlement import settle
from tests.builders import a_dead_process, a_finish, a_job, a_start, in_doubt

DEAD = a_dead_process()
#: A process of another host, which is never known to be dead.
ELSEWHERE = "elsewhere:1:1"


def admit_each(store, *requests):
    """Admit the requests in one commit each."""
    admissions = [store.attempt_writer.admit(request).result(30) for request in requests]
    return admissions[0] if len(admissions) == 1 else admissions


def admit_together(store, *requests):
    """Admit the requests in one commit."""
    with store.database.write_transaction() as connection:
        return admit(connection, requests)


def settle_each(store, *results):
    for result in results:
        store.attempt_writer.settle(result).result(30)


def money(store, job):
    found = store.jobs.get(job.id)
    return found.spent, found.held, found.in_doubt


def calls(store, job, ix=0):
    return {call.key: call for call in store.item_results.calls(job.id, ix)}


def first(store, job, ix=0):
    """The first call of the item."""
    return store.item_results.calls(job.id, ix)[0]


def states(store, job, ix=0):
    return [
        attempt.state for call in store.item_results.calls(job.id, ix) for attempt in call.attempts
    ]


def test_an_attempt_is_recorded_before_it_may_be_sent(any_store):
    job = a_job(any_store)

    admission = admit_each(any_store, a_start(job))

    assert admission == Admitted(attempt_number=1, counted_attempts=1, in_doubt=0)
    url = any_store.database.engine.url.render_as_string(hide_password=False)
    another = Store.open(url)
    assert states(another, job) == ["sending"]
    assert money(another, job) == (0, 100, 0)
    another.close()


def test_an_answer_settles_its_call_and_moves_its_money(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    settle_each(any_store, a_finish(request, text="four"))

    call = first(any_store, job)
    assert (call.text, call.failure, call.cached, call.cache_saved) == ("four", None, False, None)
    (attempt,) = call.attempts
    assert (attempt.state, attempt.outcome, attempt.cost) == ("billed", "ok", 60)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (10, 5)
    assert attempt.begun_at == request.begun_at
    assert attempt.ended_at is not None
    assert money(any_store, job) == (60, 0, 0)


def test_a_call_has_one_open_attempt(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    admission = admit_each(any_store, replace(request, begun_at=now(), use_cache=False))

    assert admission == DuplicateInFlight()
    assert states(any_store, job) == ["sending"]
    assert money(any_store, job) == (0, 100, 0)


def test_the_database_itself_refuses_a_second_open_attempt(any_store):
    job = a_job(any_store)
    admit_each(any_store, a_start(job))

    with any_store.database.read_transaction() as connection:
        row = dict(connection.execute(sa.select(schema.attempts)).mappings().one())

    with pytest.raises(StoreError), any_store.database.write_transaction() as connection:
        connection.execute(sa.insert(schema.attempts), [row | {"attempt_number": 2}])

    assert states(any_store, job) == ["sending"]


def test_the_same_call_twice_in_one_commit_is_sent_once(any_store):
    job = a_job(any_store)
    request = a_start(job)

    admissions = admit_together(
        any_store, request, replace(request, begun_at=request.begun_at + timedelta(seconds=1))
    )

    assert admissions == [Admitted(1, 1, 0), DuplicateInFlight()]


def test_the_same_call_twice_in_one_commit_is_sent_once_without_the_cache(any_store):
    job = a_job(any_store)
    request = a_start(job, use_cache=False)

    admissions = admit_together(
        any_store, request, replace(request, begun_at=request.begun_at + timedelta(seconds=1))
    )

    assert admissions == [Admitted(1, 1, 0), DuplicateInFlight()]


@pytest.mark.parametrize("in_one_commit", [True, False])
@pytest.mark.parametrize("first_uses_the_cache", [True, False])
def test_an_equal_request_in_flight_makes_another_call_wait(
    any_store, first_uses_the_cache, in_one_commit
):
    job, other = a_job(any_store), a_job(any_store, name="other")
    requests = (
        a_start(job, ix=0, fingerprint="f" * 64, use_cache=first_uses_the_cache),
        a_start(job, ix=1, fingerprint="f" * 64),
        a_start(other, ix=0, fingerprint="f" * 64),
    )

    admissions = (
        admit_together(any_store, *requests) if in_one_commit else admit_each(any_store, *requests)
    )

    assert admissions == [Admitted(1, 1, 0), DuplicateInFlight(), DuplicateInFlight()]


def test_without_the_cache_an_equal_request_is_sent_for_every_call(any_store):
    job = a_job(any_store)

    admissions = admit_each(
        any_store,
        a_start(job, ix=0, fingerprint="f" * 64),
        a_start(job, ix=1, fingerprint="f" * 64, use_cache=False),
    )

    assert admissions == [Admitted(1, 1, 0), Admitted(1, 1, 0)]


def test_a_cache_hit_costs_nothing_and_shows_what_it_saved(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other", budget=1)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, a_finish(request, text="four"))

    admission = admit_each(any_store, a_start(other))

    assert admission == CacheHit()
    call = first(any_store, other)
    assert (call.text, call.cached, call.cache_saved, call.attempts) == ("four", True, 60, ())
    assert money(any_store, other) == (0, 0, 0)
    assert admit_each(any_store, a_start(other)) == AlreadySettled()


def test_two_calls_of_one_commit_hit_the_cache(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    admit_each(any_store, a_start(job, fingerprint="f" * 64))
    settle_each(any_store, a_finish(a_start(job, fingerprint="f" * 64)))

    admissions = admit_together(
        any_store,
        a_start(other, ix=0, fingerprint="f" * 64),
        a_start(other, ix=1, fingerprint="f" * 64),
        a_start(other, ix=1, fingerprint="f" * 64),
    )

    assert admissions == [CacheHit(), CacheHit(), AlreadySettled()]


@pytest.mark.parametrize("text", ["", " \n", None])
def test_a_blank_reply_is_not_cached(any_store, text):
    job, other = a_job(any_store), a_job(any_store, name="other")
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(
        any_store, a_finish(request, reply=Reply(text, failure=None if text else "refused: no"))
    )

    admission = admit_each(any_store, a_start(other))

    assert admission == Admitted(1, 1, 0)


def test_a_settled_call_is_not_begun_again(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, a_finish(request))

    admission = admit_each(any_store, replace(request, begun_at=now()))

    assert admission == AlreadySettled()
    assert states(any_store, job) == ["billed"]


def test_a_repeated_request_is_the_same_attempt(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    admission = admit_each(any_store, request)

    assert admission == Admitted(1, 1, 0)
    assert states(any_store, job) == ["sending"]
    assert money(any_store, job) == (0, 100, 0)


def test_a_repeated_result_counts_once(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    settle_each(any_store, a_finish(request, text="four"), a_finish(request, text="five"))

    assert first(any_store, job).text == "four"
    assert money(any_store, job) == (60, 0, 0)


def test_a_repeated_result_in_one_commit_counts_once(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(request, text="four"), a_finish(request, text="five")])

    assert first(any_store, job).text == "four"
    assert money(any_store, job) == (60, 0, 0)


def test_a_result_without_an_attempt_changes_nothing(any_store):
    job = a_job(any_store)

    settle_each(any_store, a_finish(a_start(job), n=3))

    assert money(any_store, job) == (0, 0, 0)
    assert calls(any_store, job) == {}


@pytest.mark.parametrize("billing", [Billing.NOT_SENT, Billing.NOT_BILLED])
def test_an_unbilled_attempt_releases_its_hold_and_leaves_the_call_open(any_store, billing):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    settle_each(
        any_store,
        a_finish(request, billing=billing, outcome="rate_limit", cost=NanoUsd(0), reply=None),
    )

    assert money(any_store, job) == (0, 0, 0)
    assert states(any_store, job) == [billing.value]
    refused = int(billing is Billing.NOT_BILLED)
    assert admit_each(any_store, replace(request, begun_at=now())) == Admitted(2, 2, 0, refused)


def test_an_attempt_in_doubt_keeps_its_hold_and_leaves_the_call_open(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    settle_each(any_store, in_doubt(request))

    assert money(any_store, job) == (0, 0, 100)
    assert states(any_store, job) == ["in_doubt"]
    assert admit_each(any_store, replace(request, begun_at=now())) == Admitted(
        attempt_number=2, counted_attempts=2, in_doubt=1
    )


def test_a_late_answer_resolves_an_attempt_in_doubt(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, in_doubt(request))

    settle_each(any_store, a_finish(request, text="late"))

    assert money(any_store, job) == (60, 0, 0)
    assert states(any_store, job) == ["billed"]
    assert first(any_store, job).text == "late"


def test_an_answer_resolves_an_attempt_in_doubt_in_the_same_commit(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    with any_store.database.write_transaction() as connection:
        settle(connection, [in_doubt(request), a_finish(request, text="late")])

    assert money(any_store, job) == (60, 0, 0)
    assert states(any_store, job) == ["billed"]
    assert first(any_store, job).text == "late"


def test_a_late_refusal_resolves_an_attempt_in_doubt_and_settles_no_call(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, in_doubt(request))

    settle_each(
        any_store,
        a_finish(
            request, billing=Billing.NOT_BILLED, outcome="rate_limit", cost=NanoUsd(0), reply=None
        ),
    )

    assert money(any_store, job) == (0, 0, 0)
    assert first(any_store, job).text is None


def test_the_first_reply_is_kept_and_the_second_is_paid_too(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, in_doubt(request))
    again = replace(request, begun_at=now())
    admit_each(any_store, again)
    settle_each(any_store, a_finish(again, n=2, text="first"))

    settle_each(any_store, a_finish(request, n=1, text="late"))

    assert first(any_store, job).text == "first"
    assert money(any_store, job) == (120, 0, 0)
    assert states(any_store, job) == ["billed", "billed"]
    assert admit_each(any_store, a_start(a_job(any_store, name="other"))) == CacheHit()
    assert first(any_store, any_store.jobs.find("other")).text == "first"


@pytest.mark.parametrize(
    ("budget", "holds", "admissions"),
    [
        (None, [10**15, 10**15], [Admitted(1, 1, 0)] * 2),
        (100, [100], [Admitted(1, 1, 0)]),
        (99, [100], [BudgetExhausted()]),
        (0, [0], [BudgetExhausted()]),
        (0, [None], [BudgetExhausted()]),
        (1, [None], [Admitted(1, 1, 0)]),
        (
            200,
            [100, 100, 0, None],
            [Admitted(1, 1, 0), Admitted(1, 1, 0), BudgetWait(), BudgetWait()],
        ),
        (199, [100, 100, 99], [Admitted(1, 1, 0), BudgetWait(), Admitted(1, 1, 0)]),
    ],
)
@pytest.mark.parametrize("in_one_commit", [True, False])
def test_the_budget_covers_every_admitted_attempt(
    any_store, budget, holds, admissions, in_one_commit
):
    job = a_job(any_store, budget=budget)
    requests = [a_start(job, slot=slot, hold=hold) for slot, hold in enumerate(holds)]

    found = (
        admit_together(any_store, *requests)
        if in_one_commit
        else [admit_each(any_store, s) for s in requests]
    )

    assert found == admissions


@pytest.mark.parametrize("short", [0, 1])
def test_the_rest_of_the_budget_excludes_spent_held_and_in_doubt(any_store, short):
    job = a_job(any_store, budget=60 + 70 + 80 + 90 - short)
    spent, in_doubt_request, in_flight = (
        a_start(job, slot=slot, hold=hold) for slot, hold in enumerate((60, 70, 80))
    )
    admit_each(any_store, spent, in_doubt_request, in_flight)
    settle_each(any_store, a_finish(spent, cost=NanoUsd(60)), in_doubt(in_doubt_request))

    admission = admit_each(any_store, a_start(job, slot=3, hold=90))

    assert admission == (BudgetWait() if short else Admitted(1, 1, 0))
    assert money(any_store, job) == (60, 80 if short else 170, 70)


def test_a_budget_is_exhausted_when_no_call_in_flight_can_change_that(any_store):
    job = a_job(any_store, budget=150)
    request = a_start(job)
    admit_each(any_store, request)

    before = admit_each(any_store, a_start(job, slot=1))
    settle_each(any_store, in_doubt(request))
    after = admit_each(any_store, a_start(job, slot=1))

    assert (before, after) == (BudgetWait(), BudgetExhausted())


def test_two_processes_cannot_both_use_the_last_of_the_budget(any_store):
    job = a_job(any_store, budget=100)
    other = Store.open(any_store.database.engine.url.render_as_string(hide_password=False))

    with ThreadPoolExecutor() as pool, any_store.database.write_transaction() as connection:
        own = admit(connection, [a_start(job, slot=0)])
        other_admission = pool.submit(admit_together, other, a_start(job, slot=1))
        with pytest.raises(TimeoutError):
            other_admission.result(0.2)
        connection.commit()
        waited = other_admission.result(30)
    other.close()

    assert (own, waited) == ([Admitted(1, 1, 0)], [BudgetWait()])


def test_one_commit_moves_the_money_of_several_jobs(any_store):
    jobs = [a_job(any_store, name=name) for name in ("one", "other")]
    requests = [a_start(job, ix=ix) for ix, job in enumerate(jobs)]

    admit_together(any_store, *requests)
    reserved = [money(any_store, job) for job in jobs]
    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(request) for request in requests])

    assert reserved == [(0, 100, 0)] * 2
    assert [money(any_store, job) for job in jobs] == [(60, 0, 0)] * 2


def test_a_reply_without_a_price_is_billed_without_a_cost(any_store):
    job = a_job(any_store, budget=5)
    request = a_start(job, hold=None)
    admit_each(any_store, request)

    settle_each(any_store, a_finish(request, cost=None))

    assert money(any_store, job) == (0, 0, 0)
    (attempt,) = first(any_store, job).attempts
    assert (attempt.state, attempt.cost) == ("billed", None)


def test_an_answer_after_a_retry_settles_no_call_but_is_cached(any_store):
    job = a_job(any_store)
    request = a_start(job, owner=DEAD)
    admit_each(any_store, request)
    any_store.recover()
    any_store.items.finish(job.id, [(0, Failed(0, "call_timeout"))])
    any_store.items.reopen(job.id, ["failed"])

    settle_each(any_store, a_finish(request))
    (item,) = any_store.items.open_by_index(job.id, [0])

    assert item.replies == {}
    assert money(any_store, job) == (60, 0, 0)
    assert admit_each(any_store, replace(request, begun_at=now())) == CacheHit()


def test_a_job_that_is_not_running_admits_only_cache_hits(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, a_finish(request))
    any_store.jobs.change_state(job.id, "paused", from_states=["running"])

    admissions = admit_each(
        any_store,
        request,
        a_start(job, ix=1, fingerprint=request.fingerprint),
        a_start(job, slot=1),
    )

    assert admissions == [AlreadySettled(), CacheHit(), JobNotRunning()]


def test_attempts_count_towards_the_maximum_until_the_item_is_retried(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)
    settle_each(any_store, in_doubt(request))
    again = replace(request, begun_at=now())
    admit_each(any_store, again)
    settle_each(any_store, in_doubt(again, 2, Reply(None, failure="call_timeout")))
    any_store.items.finish(job.id, [(0, Failed(0, "call_timeout"))])

    any_store.items.reopen(job.id, ["failed"])

    assert admit_each(any_store, replace(request, begun_at=now())) == Admitted(
        attempt_number=3, counted_attempts=1, in_doubt=0
    )
    assert money(any_store, job) == (0, 100, 200)


@pytest.mark.parametrize(
    ("owner", "expires_after", "lost"),
    [(DEAD, 60, True), (ELSEWHERE, 60, False), (ELSEWHERE, -1, True), (DEAD, -1, True)],
    ids=["dead", "elsewhere", "elsewhere-and-over", "dead-and-over"],
)
def test_a_lost_attempt_is_marked_in_doubt(any_store, owner, expires_after, lost):
    job = a_job(any_store)
    admit_each(
        any_store,
        a_start(job, slot=0, owner=owner, expires_after=expires_after),
        a_start(job, slot=1),
    )

    count = any_store.recover()

    assert count == lost
    assert states(any_store, job) == ["in_doubt" if lost else "sending", "sending"]
    assert money(any_store, job) == ((0, 100, 100) if lost else (0, 200, 0))
    assert any_store.recover() == 0


def test_a_call_that_kills_processes_fails_until_it_is_retried(any_store):
    job = a_job(any_store)
    for _ in range(MAX_PROCESS_DEATHS):
        admit_each(any_store, a_start(job, owner=DEAD))
        any_store.recover()

    admission = admit_each(any_store, a_start(job))

    assert admission == PoisonPill()
    assert first(any_store, job).failure == f"poison: {MAX_PROCESS_DEATHS} processes died over it"
    assert admit_each(any_store, a_start(job)) == AlreadySettled()
    assert money(any_store, job) == (0, 0, MAX_PROCESS_DEATHS * 100)
    any_store.items.finish(job.id, [(0, Failed(0, "poison"))])
    any_store.items.reopen(job.id, ["failed"])
    assert admit_each(any_store, a_start(job)) == Admitted(
        attempt_number=MAX_PROCESS_DEATHS + 1, counted_attempts=1, in_doubt=0
    )


def test_a_poison_pill_fails_once_in_a_commit(any_store):
    job = a_job(any_store)
    for _ in range(MAX_PROCESS_DEATHS):
        admit_each(any_store, a_start(job, owner=DEAD))
        any_store.recover()

    admissions = admit_together(any_store, a_start(job), a_start(job), a_start(job, slot=1))

    assert admissions == [PoisonPill(), AlreadySettled(), Admitted(1, 1, 0)]


def test_a_recovered_call_may_be_sent_again_and_answered_late(any_store):
    job = a_job(any_store)
    request = a_start(job, owner=DEAD)
    admit_each(any_store, request)
    any_store.recover()

    admission = admit_each(any_store, a_start(job))
    settle_each(any_store, a_finish(request, text="late"))

    assert admission == Admitted(attempt_number=2, counted_attempts=2, in_doubt=1)
    assert money(any_store, job) == (60, 100, 0)
    assert first(any_store, job).text == "late"


@pytest.mark.postgres
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "UTC", "Asia/Tokyo"])
def test_a_living_attempt_is_left_alone_in_any_time_zone_of_the_server(postgres_url, zone):
    store = Store.open(postgres_url)
    with store.database.write_transaction() as connection:
        name = store.database.engine.url.database
        connection.execute(sa.text(f"ALTER DATABASE {name} SET timezone TO '{zone}'"))
    store.close()
    store = Store.open(postgres_url)
    job = a_job(store)
    admit_each(
        store, a_start(job, slot=0, expires_after=60), a_start(job, slot=1, expires_after=-1)
    )

    store.recover()

    assert states(store, job) == ["sending", "in_doubt"]
    store.close()


ANY_TEXT = "é \0 \ud800 \U0001f600 \u202e"


def test_any_text_of_a_reply_is_stored(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    request = a_start(job)
    admit_each(any_store, request)

    settle_each(any_store, a_finish(request, text=ANY_TEXT))

    kept = "é \ufffd ? \U0001f600 \u202e"
    assert first(any_store, job).text == kept
    (item, _) = any_store.items.open_in_shard(job.id, 0)
    assert [reply.text for reply in item.replies.values()] == [kept]
    admit_each(any_store, a_start(other))
    assert first(any_store, other).text == kept


def test_any_text_of_a_failure_is_stored(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    with any_store.database.write_transaction() as connection:
        result = a_finish(
            request,
            billing=Billing.NOT_BILLED,
            outcome="refused",
            detail=ANY_TEXT,
            cost=NanoUsd(0),
            reply=Reply(None, failure=f"refused: {ANY_TEXT}"),
        )
        settle(connection, [result])

    call = first(any_store, job)
    kept = "é \ufffd ? \U0001f600 \u202e"
    assert (call.failure, call.attempts[0].detail) == (f"refused: {kept}", kept)


def test_any_finish_reason_is_stored(any_store):
    job = a_job(any_store)
    request = a_start(job)
    admit_each(any_store, request)

    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(request, reply=Reply("four", finish_reason=ANY_TEXT * 20))])

    assert first(any_store, job).text == "four"
