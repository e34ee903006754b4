"""Attempts: nothing is sent that is not on record, nothing is paid that the budget does not cover."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
#: Of another host nothing is known.
ELSEWHERE = "elsewhere:1:1"


def begun(store, *starts):
    """What comes of the beginnings, one commit each."""
    verdicts = [store.attempt_writer.admit(start).result(30) for start in starts]
    return verdicts[0] if len(verdicts) == 1 else verdicts


def together(store, *starts):
    """What comes of the beginnings in one commit."""
    with store.database.write_transaction() as connection:
        return admit(connection, starts)


def settled(store, *finishes):
    for finish in finishes:
        store.attempt_writer.settle(finish).result(30)


def money(store, job):
    found = store.jobs.get(job.id)
    return found.spent, found.reserved, found.in_doubt


def calls(store, job, ix=0):
    return {line.key: line for line in store.item_results.calls(job.id, ix)}


def first(store, job, ix=0):
    """The first call of the item."""
    return store.item_results.calls(job.id, ix)[0]


def states(store, job, ix=0):
    return [
        attempt.state for line in store.item_results.calls(job.id, ix) for attempt in line.attempts
    ]


def test_an_attempt_is_on_record_before_it_may_be_sent(any_store):
    job = a_job(any_store)

    verdict = begun(any_store, a_start(job))

    assert verdict == Admitted(attempt_number=1, counted_attempts=1, in_doubt=0)
    url = any_store.database.engine.url.render_as_string(hide_password=False)
    another = Store.open(url)
    assert states(another, job) == ["sending"]
    assert money(another, job) == (0, 100, 0)
    another.close()


def test_an_answer_settles_its_call_and_moves_its_money(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    settled(any_store, a_finish(start, text="four"))

    line = first(any_store, job)
    assert (line.text, line.failure, line.cached, line.saved) == ("four", None, False, None)
    (attempt,) = line.attempts
    assert (attempt.state, attempt.outcome, attempt.cost) == ("billed", "ok", 60)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (10, 5)
    assert attempt.begun_at == start.begun_at
    assert attempt.ended_at is not None
    assert money(any_store, job) == (60, 0, 0)


def test_a_call_has_one_open_attempt(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    verdict = begun(any_store, replace(start, begun_at=now(), use_cache=False))

    assert verdict == DuplicateInFlight()
    assert states(any_store, job) == ["sending"]
    assert money(any_store, job) == (0, 100, 0)


def test_the_database_itself_refuses_a_second_open_attempt(any_store):
    job = a_job(any_store)
    begun(any_store, a_start(job))

    with any_store.database.read_transaction() as connection:
        row = dict(connection.execute(sa.select(schema.attempts)).mappings().one())

    with pytest.raises(StoreError), any_store.database.write_transaction() as connection:
        connection.execute(sa.insert(schema.attempts), [row | {"n": 2}])

    assert states(any_store, job) == ["sending"]


def test_the_same_call_twice_in_one_commit_is_sent_once(any_store):
    job = a_job(any_store)
    start = a_start(job)

    verdicts = together(
        any_store, start, replace(start, begun_at=start.begun_at + timedelta(seconds=1))
    )

    assert verdicts == [Admitted(1, 1, 0), DuplicateInFlight()]


def test_the_same_call_twice_in_one_commit_is_sent_once_without_reuse(any_store):
    job = a_job(any_store)
    start = a_start(job, use_cache=False)

    verdicts = together(
        any_store, start, replace(start, begun_at=start.begun_at + timedelta(seconds=1))
    )

    assert verdicts == [Admitted(1, 1, 0), DuplicateInFlight()]


@pytest.mark.parametrize("in_one_commit", [True, False])
@pytest.mark.parametrize("reuse_of_the_first", [True, False])
def test_the_same_request_on_the_wire_makes_another_call_wait(
    any_store, reuse_of_the_first, in_one_commit
):
    job, other = a_job(any_store), a_job(any_store, name="other")
    starts = (
        a_start(job, ix=0, fingerprint="f" * 64, use_cache=reuse_of_the_first),
        a_start(job, ix=1, fingerprint="f" * 64),
        a_start(other, ix=0, fingerprint="f" * 64),
    )

    verdicts = together(any_store, *starts) if in_one_commit else begun(any_store, *starts)

    assert verdicts == [Admitted(1, 1, 0), DuplicateInFlight(), DuplicateInFlight()]


def test_without_reuse_the_same_request_is_sent_for_every_call(any_store):
    job = a_job(any_store)

    verdicts = begun(
        any_store,
        a_start(job, ix=0, fingerprint="f" * 64),
        a_start(job, ix=1, fingerprint="f" * 64, use_cache=False),
    )

    assert verdicts == [Admitted(1, 1, 0), Admitted(1, 1, 0)]


def test_a_completion_found_again_costs_nothing_and_shows_as_saved(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other", budget=1)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, a_finish(start, text="four"))

    verdict = begun(any_store, a_start(other))

    assert verdict == CacheHit()
    line = first(any_store, other)
    assert (line.text, line.cached, line.saved, line.attempts) == ("four", True, 60, ())
    assert money(any_store, other) == (0, 0, 0)
    assert begun(any_store, a_start(other)) == AlreadySettled()


def test_a_completion_is_found_by_two_calls_of_one_commit(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    begun(any_store, a_start(job, fingerprint="f" * 64))
    settled(any_store, a_finish(a_start(job, fingerprint="f" * 64)))

    verdicts = together(
        any_store,
        a_start(other, ix=0, fingerprint="f" * 64),
        a_start(other, ix=1, fingerprint="f" * 64),
        a_start(other, ix=1, fingerprint="f" * 64),
    )

    assert verdicts == [CacheHit(), CacheHit(), AlreadySettled()]


@pytest.mark.parametrize("text", ["", " \n", None])
def test_what_says_nothing_is_no_completion(any_store, text):
    job, other = a_job(any_store), a_job(any_store, name="other")
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, a_finish(start, reply=Reply(text, failure=None if text else "refused: no")))

    verdict = begun(any_store, a_start(other))

    assert verdict == Admitted(1, 1, 0)


def test_a_settled_call_is_not_begun_again(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, a_finish(start))

    verdict = begun(any_store, replace(start, begun_at=now()))

    assert verdict == AlreadySettled()
    assert states(any_store, job) == ["billed"]


def test_a_beginning_whose_confirmation_was_lost_is_the_same_attempt(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    verdict = begun(any_store, start)

    assert verdict == Admitted(1, 1, 0)
    assert states(any_store, job) == ["sending"]
    assert money(any_store, job) == (0, 100, 0)


def test_an_end_that_arrives_twice_is_counted_once(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    settled(any_store, a_finish(start, text="four"), a_finish(start, text="five"))

    assert first(any_store, job).text == "four"
    assert money(any_store, job) == (60, 0, 0)


def test_an_end_that_arrives_twice_in_one_commit_is_counted_once(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(start, text="four"), a_finish(start, text="five")])

    assert first(any_store, job).text == "four"
    assert money(any_store, job) == (60, 0, 0)


def test_an_end_of_what_was_never_begun_changes_nothing(any_store):
    job = a_job(any_store)

    settled(any_store, a_finish(a_start(job), n=3))

    assert money(any_store, job) == (0, 0, 0)
    assert calls(any_store, job) == {}


@pytest.mark.parametrize("billing", [Billing.NOT_SENT, Billing.NOT_BILLED])
def test_what_was_not_billed_frees_its_money_and_leaves_the_call_open(any_store, billing):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    settled(
        any_store,
        a_finish(start, billing=billing, outcome="rate_limit", cost=NanoUsd(0), reply=None),
    )

    assert money(any_store, job) == (0, 0, 0)
    assert states(any_store, job) == [billing.value]
    refused = int(billing is Billing.NOT_BILLED)
    assert begun(any_store, replace(start, begun_at=now())) == Admitted(2, 2, 0, refused)


def test_what_is_in_doubt_stays_counted_and_leaves_the_call_open(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    settled(any_store, in_doubt(start))

    assert money(any_store, job) == (0, 0, 100)
    assert states(any_store, job) == ["in_doubt"]
    assert begun(any_store, replace(start, begun_at=now())) == Admitted(
        attempt_number=2, counted_attempts=2, in_doubt=1
    )


def test_a_late_answer_resolves_a_doubt(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, in_doubt(start))

    settled(any_store, a_finish(start, text="late"))

    assert money(any_store, job) == (60, 0, 0)
    assert states(any_store, job) == ["billed"]
    assert first(any_store, job).text == "late"


def test_an_answer_resolves_the_doubt_that_it_shares_a_commit_with(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    with any_store.database.write_transaction() as connection:
        settle(connection, [in_doubt(start), a_finish(start, text="late")])

    assert money(any_store, job) == (60, 0, 0)
    assert states(any_store, job) == ["billed"]
    assert first(any_store, job).text == "late"


def test_a_late_refusal_resolves_a_doubt_and_settles_nothing(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, in_doubt(start))

    settled(
        any_store,
        a_finish(
            start, billing=Billing.NOT_BILLED, outcome="rate_limit", cost=NanoUsd(0), reply=None
        ),
    )

    assert money(any_store, job) == (0, 0, 0)
    assert first(any_store, job).text is None


def test_the_first_reply_stays_and_the_second_is_paid_all_the_same(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, in_doubt(start))
    again = replace(start, begun_at=now())
    begun(any_store, again)
    settled(any_store, a_finish(again, n=2, text="first"))

    settled(any_store, a_finish(start, n=1, text="late"))

    assert first(any_store, job).text == "first"
    assert money(any_store, job) == (120, 0, 0)
    assert states(any_store, job) == ["billed", "billed"]
    assert begun(any_store, a_start(a_job(any_store, name="other"))) == CacheHit()
    assert first(any_store, any_store.jobs.find("other")).text == "first"


@pytest.mark.parametrize(
    ("budget", "reserves", "verdicts"),
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
def test_the_budget_covers_all_that_begins(any_store, budget, reserves, verdicts, in_one_commit):
    job = a_job(any_store, budget=budget)
    starts = [a_start(job, slot=slot, hold=reserve) for slot, reserve in enumerate(reserves)]

    found = together(any_store, *starts) if in_one_commit else [begun(any_store, s) for s in starts]

    assert found == verdicts


@pytest.mark.parametrize("short", [0, 1])
def test_what_is_left_of_the_budget_counts_all_that_was_or_may_be_paid(any_store, short):
    job = a_job(any_store, budget=60 + 70 + 80 + 90 - short)
    spent, doubted, flying = (
        a_start(job, slot=slot, hold=reserve) for slot, reserve in enumerate((60, 70, 80))
    )
    begun(any_store, spent, doubted, flying)
    settled(any_store, a_finish(spent, cost=NanoUsd(60)), in_doubt(doubted))

    verdict = begun(any_store, a_start(job, slot=3, hold=90))

    assert verdict == (BudgetWait() if short else Admitted(1, 1, 0))
    assert money(any_store, job) == (60, 80 if short else 170, 70)


def test_a_budget_is_reached_when_nothing_in_flight_can_change_that(any_store):
    job = a_job(any_store, budget=150)
    start = a_start(job)
    begun(any_store, start)

    before = begun(any_store, a_start(job, slot=1))
    settled(any_store, in_doubt(start))
    after = begun(any_store, a_start(job, slot=1))

    assert (before, after) == (BudgetWait(), BudgetExhausted())


def test_two_processes_cannot_both_have_the_last_of_the_budget(any_store):
    job = a_job(any_store, budget=100)
    other = Store.open(any_store.database.engine.url.render_as_string(hide_password=False))

    with ThreadPoolExecutor() as pool, any_store.database.write_transaction() as connection:
        mine = admit(connection, [a_start(job, slot=0)])
        theirs = pool.submit(together, other, a_start(job, slot=1))
        with pytest.raises(TimeoutError):
            theirs.result(0.2)
        connection.commit()
        waited = theirs.result(30)
    other.close()

    assert (mine, waited) == ([Admitted(1, 1, 0)], [BudgetWait()])


def test_money_of_several_jobs_moves_in_one_commit(any_store):
    jobs = [a_job(any_store, name=name) for name in ("one", "other")]
    starts = [a_start(job, ix=ix) for ix, job in enumerate(jobs)]

    together(any_store, *starts)
    reserved = [money(any_store, job) for job in jobs]
    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(start) for start in starts])

    assert reserved == [(0, 100, 0)] * 2
    assert [money(any_store, job) for job in jobs] == [(60, 0, 0)] * 2


def test_a_reply_without_a_price_is_billed_without_a_cost(any_store):
    job = a_job(any_store, budget=5)
    start = a_start(job, hold=None)
    begun(any_store, start)

    settled(any_store, a_finish(start, cost=None))

    assert money(any_store, job) == (0, 0, 0)
    (attempt,) = first(any_store, job).attempts
    assert (attempt.state, attempt.cost) == ("billed", None)


def test_an_answer_that_comes_after_a_retry_settles_nothing_but_is_found(any_store):
    job = a_job(any_store)
    start = a_start(job, owner=DEAD)
    begun(any_store, start)
    any_store.recover()
    any_store.items.finish(job.id, [(0, Failed(0, "call_timeout"))])
    any_store.items.reopen(job.id, ["failed"])

    settled(any_store, a_finish(start))
    (item,) = any_store.items.open_by_index(job.id, [0])

    assert item.replies == {}
    assert money(any_store, job) == (60, 0, 0)
    assert begun(any_store, replace(start, begun_at=now())) == CacheHit()


def test_a_job_that_does_not_run_begins_nothing_but_takes_what_is_found(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, a_finish(start))
    any_store.jobs.change_state(job.id, "paused", from_states=["running"])

    verdicts = begun(
        any_store,
        start,
        a_start(job, ix=1, fingerprint=start.fingerprint),
        a_start(job, slot=1),
    )

    assert verdicts == [AlreadySettled(), CacheHit(), JobNotRunning()]


def test_attempts_count_against_the_bound_until_the_item_is_retried(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)
    settled(any_store, in_doubt(start))
    again = replace(start, begun_at=now())
    begun(any_store, again)
    settled(any_store, in_doubt(again, 2, Reply(None, failure="call_timeout")))
    any_store.items.finish(job.id, [(0, Failed(0, "call_timeout"))])

    any_store.items.reopen(job.id, ["failed"])

    assert begun(any_store, replace(start, begun_at=now())) == Admitted(
        attempt_number=3, counted_attempts=1, in_doubt=0
    )
    assert money(any_store, job) == (0, 100, 200)


@pytest.mark.parametrize(
    ("owner", "lasts", "lost"),
    [(DEAD, 60, True), (ELSEWHERE, 60, False), (ELSEWHERE, -1, True), (DEAD, -1, True)],
    ids=["dead", "elsewhere", "elsewhere-and-over", "dead-and-over"],
)
def test_an_attempt_that_nobody_will_settle_is_put_in_doubt(any_store, owner, lasts, lost):
    job = a_job(any_store)
    begun(any_store, a_start(job, slot=0, owner=owner, expires_after=lasts), a_start(job, slot=1))

    count = any_store.recover()

    assert count == lost
    assert states(any_store, job) == ["in_doubt" if lost else "sending", "sending"]
    assert money(any_store, job) == ((0, 100, 100) if lost else (0, 200, 0))
    assert any_store.recover() == 0


def test_a_call_that_processes_die_over_is_given_up_until_it_is_retried(any_store):
    job = a_job(any_store)
    for _ in range(MAX_PROCESS_DEATHS):
        begun(any_store, a_start(job, owner=DEAD))
        any_store.recover()

    verdict = begun(any_store, a_start(job))

    assert verdict == PoisonPill()
    assert first(any_store, job).failure == f"poison: {MAX_PROCESS_DEATHS} processes died over it"
    assert begun(any_store, a_start(job)) == AlreadySettled()
    assert money(any_store, job) == (0, 0, MAX_PROCESS_DEATHS * 100)
    any_store.items.finish(job.id, [(0, Failed(0, "poison"))])
    any_store.items.reopen(job.id, ["failed"])
    assert begun(any_store, a_start(job)) == Admitted(
        attempt_number=MAX_PROCESS_DEATHS + 1, counted_attempts=1, in_doubt=0
    )


def test_one_call_is_given_up_once_in_a_commit(any_store):
    job = a_job(any_store)
    for _ in range(MAX_PROCESS_DEATHS):
        begun(any_store, a_start(job, owner=DEAD))
        any_store.recover()

    verdicts = together(any_store, a_start(job), a_start(job), a_start(job, slot=1))

    assert verdicts == [PoisonPill(), AlreadySettled(), Admitted(1, 1, 0)]


def test_a_recovered_attempt_may_be_begun_again_and_answered_late(any_store):
    job = a_job(any_store)
    start = a_start(job, owner=DEAD)
    begun(any_store, start)
    any_store.recover()

    verdict = begun(any_store, a_start(job))
    settled(any_store, a_finish(start, text="late"))

    assert verdict == Admitted(attempt_number=2, counted_attempts=2, in_doubt=1)
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
    begun(store, a_start(job, slot=0, expires_after=60), a_start(job, slot=1, expires_after=-1))

    store.recover()

    assert states(store, job) == ["sending", "in_doubt"]
    store.close()


ROUGH = "é \0 \ud800 \U0001f600 \u202e"


def test_any_text_of_a_reply_is_stored(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    start = a_start(job)
    begun(any_store, start)

    settled(any_store, a_finish(start, text=ROUGH))

    kept = "é \ufffd ? \U0001f600 \u202e"
    assert first(any_store, job).text == kept
    (item, _) = any_store.items.open_in_shard(job.id, 0)
    assert [reply.text for reply in item.replies.values()] == [kept]
    begun(any_store, a_start(other))
    assert first(any_store, other).text == kept


def test_any_text_of_a_failure_is_stored(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    with any_store.database.write_transaction() as connection:
        finish = a_finish(
            start,
            billing=Billing.NOT_BILLED,
            outcome="refused",
            detail=ROUGH,
            cost=NanoUsd(0),
            reply=Reply(None, failure=f"refused: {ROUGH}"),
        )
        settle(connection, [finish])

    line = first(any_store, job)
    kept = "é \ufffd ? \U0001f600 \u202e"
    assert (line.failure, line.attempts[0].why) == (f"refused: {kept}", kept)


def test_any_word_of_a_provider_for_why_it_stopped_is_stored(any_store):
    job = a_job(any_store)
    start = a_start(job)
    begun(any_store, start)

    with any_store.database.write_transaction() as connection:
        settle(connection, [a_finish(start, reply=Reply("four", finish_reason=ROUGH * 20))])

    assert first(any_store, job).text == "four"


@dataclass
class Try:
    """One attempt as the machine below knows it."""

    start: object
    n: int
    reserve: int
    counts: bool = True
    died: bool = False
    state: str = "sending"
    cost: int | None = None
    #: What the provider has put on its bill, whether or not an answer came.
    billed: int = 0


#: Calls that begin in one commit, with what is kept back for each, and for whom.
BEGINNINGS = st.tuples(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3),
    st.sampled_from([None, 0, 61, 100, 150]),
    st.sampled_from([True, True, False]),
    st.sampled_from([ELSEWHERE, ELSEWHERE, DEAD]),
)


class Ledger(RuleBasedStateMachine):
    """Any sequence of what can befall a job, against a model and the bill of its provider."""

    store: Store

    def __init__(self):
        super().__init__()
        self.tries: dict[tuple[int, int], list[Try]] = {}
        self.replies: dict[tuple[int, int], tuple[str | None, str | None]] = {}
        self.completions: dict[str, str] = {}
        self.running = True
        with self.store.database.write_transaction() as connection:
            for name in ("completions", "calls", "attempts", "items", "jobs"):
                connection.execute(sa.text(f"DELETE FROM {name}"))  # noqa: S608

    @initialize(
        budget=st.sampled_from([0, 100, 150, 250, 1000]),
        begun=st.lists(BEGINNINGS, min_size=1, max_size=3),
    )
    def submitted(self, budget, begun):
        self.budget = budget
        self.job = a_job(self.store, questions=4, budget=budget)
        for beginning in begun:
            self.begin(beginning)

    def attempts(self):
        return [(call, attempt) for call, tries in self.tries.items() for attempt in tries]

    def all(self, *of):
        return [attempt for _, attempt in self.attempts() if attempt.state in of]

    def committed(self):
        held = sum(t.reserve for t in self.all("sending", "in_doubt"))
        return held + sum(t.cost or 0 for t in self.all("billed"))

    def expected(self, call, start):
        """What has to come of a beginning, by the rules as they are told to users."""
        tries = self.tries.get(call, [])
        if call in self.replies:
            return AlreadySettled()
        if start.reuse and start.fingerprint in self.completions:
            return CacheHit()
        if not self.running:
            return JobNotRunning()
        if sum(t.counts and t.died for t in tries) >= MAX_PROCESS_DEATHS:
            return PoisonPill()
        wire = {t.start.fingerprint for t in self.all("sending")}
        if any(t.state == "sending" for t in tries) or (start.reuse and start.fingerprint in wire):
            return DuplicateInFlight()
        left = self.budget - self.committed()
        if left <= 0 or (start.reserve or 0) > left:
            return (
                BudgetWait() if sum(t.reserve for t in self.all("sending")) else BudgetExhausted()
            )
        counted = [t for t in tries if t.counts]
        doubts = sum(t.state == "in_doubt" for t in counted)
        return Admitted(len(tries) + 1, len(counted) + 1, doubts)

    @rule(beginning=BEGINNINGS)
    def began(self, beginning):
        self.begin(beginning)

    def begin(self, beginning):
        wanted, reserve, reuse, owner = beginning
        starts = [
            a_start(
                self.job, ix, slot,
                hold=reserve, use_cache=reuse, owner=owner, fingerprint=f"{ix % 2}/{slot}",
            )
            for ix, slot in wanted
        ]  # fmt: skip

        verdicts = together(self.store, *starts)

        for call, start, verdict in zip(wanted, starts, verdicts, strict=True):
            assert verdict == self.expected(call, start)
            if isinstance(verdict, Admitted):
                self.tries.setdefault(call, []).append(
                    Try(start, verdict.attempt_number, reserve or 0)
                )
                # When the confirmation is lost, the same is asked for once more.
                assert together(self.store, start) == [verdict]
            if isinstance(verdict, CacheHit):
                self.replies[call] = (self.completions[start.fingerprint], None)
            if isinstance(verdict, PoisonPill):
                self.replies[call] = (None, f"poison: {MAX_PROCESS_DEATHS} processes died over it")

    def settled(self, call, attempt, finish):
        with self.store.database.write_transaction() as connection:
            settle(connection, [finish, finish])
        if attempt.state not in ("sending", "in_doubt"):
            # It was delivered before; that it comes again changes nothing.
            return
        attempt.state, attempt.cost, attempt.died = finish.billing.value, finish.cost, False
        if finish.reply is not None:
            text = finish.reply.text and finish.reply.text.strip()
            if attempt.counts:
                self.replies.setdefault(call, (text, finish.reply.failure))
            if text:
                self.completions.setdefault(attempt.start.fingerprint, text)

    @precondition(lambda self: bool(self.tries))
    @rule(
        data=st.data(),
        how=st.sampled_from(["answered", "answered", "refused", "timed out"]),
        text=st.sampled_from(["one", "two", "", " "]),
        final=st.booleans(),
    )
    def ended(self, data, how, text, final):
        open_first = sorted(self.attempts(), key=lambda of: of[1].state != "sending")
        call, attempt = data.draw(st.sampled_from(open_first))
        failed = Reply(None, failure=how) if final else None
        if how != "refused" and not attempt.billed and attempt.state in ("sending", "in_doubt"):
            attempt.billed = attempt.reserve * data.draw(st.integers(0, 2)) // 2
        if how == "timed out":
            finish = in_doubt(attempt.start, attempt.n, failed)
        elif how == "refused" and not attempt.billed:
            finish = a_finish(
                attempt.start, attempt.n,
                billing=Billing.NOT_BILLED, outcome="refused", cost=NanoUsd(0), reply=failed,
            )  # fmt: skip
        else:
            cost = None if attempt.start.reserve is None else NanoUsd(attempt.billed)
            finish = a_finish(attempt.start, attempt.n, text, cost=cost)
        self.settled(call, attempt, finish)

    @rule(what=st.sampled_from(["recovered", "paid in", "paused", "resumed", "resumed"]))
    def meanwhile(self, what):
        if what == "recovered":
            lost = [t for t in self.all("sending") if t.start.owner == DEAD]
            assert self.store.recover() == len(lost)
            for attempt in lost:
                attempt.state, attempt.died = "in_doubt", True
        elif what == "paid in":
            self.budget += 100
            self.store.jobs.set_budget(self.job.id, NanoUsd(self.budget))
        else:
            self.running = what == "resumed"
            state, before = ("running", "paused") if self.running else ("paused", "running")
            self.store.jobs.change_state(self.job.id, state, from_states=[before])

    @precondition(lambda self: bool(self.replies))
    @rule(ix=st.integers(0, 3))
    def retried(self, ix):
        self.store.items.finish(self.job.id, [(ix, Failed(0, "no"))])

        assert self.store.items.reopen(self.job.id, ["failed"]) == 1

        for call, tries in self.tries.items():
            if call[0] == ix:
                for attempt in tries:
                    attempt.counts = False
        for call, (text, _) in list(self.replies.items()):
            if call[0] == ix and not text:
                del self.replies[call]

    @invariant()
    def the_ledger_holds(self):
        with self.store.database.read_transaction() as connection:
            job, tried, replied = (
                connection.execute(sa.select(table)).all()
                for table in (schema.jobs, schema.attempts, schema.calls)
            )
        ((spent, reserved, doubt),) = [(j.spent, j.reserved, j.in_doubt) for j in job]
        # The job is what its attempts add up to, and within its budget.
        assert spent == sum(a.cost or 0 for a in tried)
        assert reserved == sum(a.reserve for a in tried if a.state == "sending")
        assert doubt == sum(a.reserve for a in tried if a.state == "in_doubt")
        assert spent + reserved + doubt <= self.budget
        # The bill is what was spent, or is in doubt.
        assert spent == sum(t.billed for t in self.all("billed") if t.start.reserve is not None)
        assert sum(t.billed for t in self.all("in_doubt")) <= doubt
        # What is on record is what has happened. Blank is blank, however it is written.
        assert {(a.ix, a.key, a.n): (a.state, a.cost, a.counts) for a in tried} == {
            (ix, f"0.0.{slot}.0", t.n): (t.state, t.cost, t.counts)
            for (ix, slot), tries in self.tries.items()
            for t in tries
        }
        assert {(c.ix, c.key): (c.text and c.text.strip(), c.failure) for c in replied} == {
            (ix, f"0.0.{slot}.0"): reply for (ix, slot), reply in self.replies.items()
        }
        # A call is on the wire once.
        wire = [(a.ix, a.key) for a in tried if a.state == "sending"]
        assert len(set(wire)) == len(wire)


def test_money_is_neither_lost_nor_made_whatever_happens(store):
    # One store for all sequences: what it has compiled once, it need not compile again.
    machine = type("LedgerInAFile", (Ledger,), {"store": store})

    # What it finds is shown as it was found: to make it small takes minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    steps = settings(max_examples=60, stateful_step_count=30, phases=phases)
    run_state_machine_as_test(machine, settings=steps)
