"""A result with any content closes its attempt and counts its money."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import StoreError
from archon_batch.store import AlreadySettled, CallId, Store
from tests.builders import a_finish, a_job, a_start

#: What UTF-8 has no room for is a text all the same.
TEXTS = st.text(st.characters(codec=None)) | st.sampled_from(["\0", "\ud800", "x" * 100_000])
#: What providers have reported, and what is no number at all.
COUNTS = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from([1 << 31, 1 << 40, 1 << 62, (1 << 64) - 1, -1, 1 << 200, 0, 64]),
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS)
REPLIES = st.builds(Reply, TEXTS, st.none(), USAGES, st.none() | TEXTS, TEXTS)
SLOTS = itertools.count()


def books(store, job):
    """Spent, held and in doubt: recomputed from the attempts, and as stored with the job."""
    found = store.audit.check(job.id)
    return found.recomputed, found.stored


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(usage=USAGES, cost=COUNTS, reply=REPLIES, why=st.none() | TEXTS)
def test_every_result_of_a_provider_is_stored(any_store, usage, cost, reply, why):
    job = a_job(any_store)
    start = a_start(job, slot=next(SLOTS), use_cache=False)
    any_store.attempt_writer.admit(start).result(30)

    with capture_logs() as logs:
        end = any_store.attempt_writer.settle(
            a_finish(start, usage=usage, cost=cost, reply=reply, detail=why)
        )
        assert end.exception(30) is None

    # Without the last resort.
    assert logs == []
    line = next(
        line for line in any_store.item_results.calls(job.id, 0) if line.key == str(start.call.key)
    )
    assert line.attempts[0].state == "billed"
    assert line.text == reply.text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    added, written = books(any_store, job)
    assert added == written
    assert written[1:] == (0, 0)


@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 35, 3_000_000_000, 1 << 40])
def test_counts_of_more_than_32_bits_are_stored(any_store, count):
    job = a_job(any_store)
    start = a_start(job)
    any_store.attempt_writer.admit(start).result(30)

    any_store.attempt_writer.settle(
        a_finish(start, usage=Usage(count, count, count, count))
    ).result(30)

    ((_, account),) = any_store.usage.by_group(job.id, "model")
    assert (account.prompt_tokens, account.completion_tokens) == (count, count)


@pytest.mark.parametrize("cost", [-1, 1 << 62, 1 << 70, float("nan"), 0.5, True])
def test_an_impossible_cost_is_replaced_by_the_hold(any_store, cost):
    job = a_job(any_store)
    start = a_start(job, hold=100)
    any_store.attempt_writer.admit(start).result(30)

    any_store.attempt_writer.settle(a_finish(start, cost=cost)).result(30)

    (line,) = any_store.item_results.calls(job.id, 0)
    assert (line.attempts[0].cost, line.attempts[0].estimated) == (100, True)
    assert any_store.jobs.get(job.id).spent == 100


#: What the database rejects, and what is left of the result.
REFUSED = [
    ("attempts", "prompt_tokens IS NOT NULL", "four \u2713", "usage"),
    ("calls", "finish_reason IS NOT NULL", "four \u2713", "finish_reason"),
    ("calls", "text LIKE '%\u2713%'", "four \\u2713", "characters"),
    ("calls", "text IS NOT NULL", None, "text"),
]


def refuse(store, table, when):
    """Have the database refuse rows of the table for which that holds."""
    with store.database.write_transaction() as connection:
        if store.database.is_sqlite:
            for event in ("INSERT", "UPDATE"):
                found = when
                for column in ("prompt_tokens", "finish_reason", "text", "state"):
                    found = found.replace(f"{column} ", f"NEW.{column} ")
                connection.exec_driver_sql(
                    f"CREATE TRIGGER no_{event} BEFORE {event} ON {table} WHEN {found} "
                    "BEGIN SELECT RAISE(ABORT, 'not here'); END"
                )
        else:
            wrong = when.replace("%", "%%")
            connection.exec_driver_sql(
                f"ALTER TABLE {table} ADD CONSTRAINT no CHECK (NOT ({wrong}))"
            )


def allow(store, table):
    with store.database.write_transaction() as connection:
        if store.database.is_sqlite:
            for event in ("INSERT", "UPDATE"):
                connection.exec_driver_sql(f"DROP TRIGGER no_{event}")
        else:
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS no")


@pytest.fixture
def spooling(any_store, tmp_path):
    """A store with a spool."""
    url = any_store.database.engine.url.render_as_string(hide_password=False)
    opened = Store.open(url, tmp_path / "spool")
    yield opened
    if not opened.database.is_sqlite:
        # The database is the next test's too.
        for table in ("attempts", "calls"):
            allow(opened, table)
    opened.close()


@pytest.mark.parametrize(("table", "when", "text", "without"), REFUSED, ids=[r[3] for r in REFUSED])
def test_a_rejected_result_is_stored_without_its_details(spooling, table, when, text, without):
    job = a_job(spooling)
    start = a_start(job)
    spooling.attempt_writer.admit(start).result(30)
    finish = a_finish(start, text="four \u2713")
    refuse(spooling, table, when)

    with capture_logs() as logs:
        assert spooling.attempt_writer.settle(finish).exception(30) is None

    assert [(log["event"], log["without"]) for log in logs] == [("result_stored_in_part", without)]
    (line,) = spooling.item_results.calls(job.id, 0)
    assert (line.text, line.attempts[0].state, line.attempts[0].cost) == (text, "billed", 60)
    assert books(spooling, job) == ((60, 0, 0), (60, 0, 0))
    assert isinstance(spooling.attempt_writer.admit(start).result(30), AlreadySettled)
    aside = [found for _, found in spooling.spool.quarantine.read_all()]
    assert aside == ([] if text else [[finish]])


def test_a_rejected_result_in_the_spool_does_not_delay_the_rest(spooling):
    job = a_job(spooling)
    starts = [a_start(job, slot=slot) for slot in range(3)]
    for start in starts:
        spooling.attempt_writer.admit(start).result(30)
    spooling.spool.write([a_finish(start, text=f"\u2713 {start.call.key}") for start in starts[:2]])
    spooling.spool.write([a_finish(starts[2])])
    refuse(spooling, "calls", "text LIKE '%\u2713 0.0.0%'")

    spooling.recover()

    texts = [line.text for line in spooling.item_results.calls(job.id, 0)]
    assert texts == ["\\u2713 0.0.0.0", "\u2713 0.0.1.0", "four"]
    assert list(spooling.spool.read_all()) == []


def test_a_result_rejected_in_every_form_stays_spooled(spooling):
    job = a_job(spooling)
    start = a_start(job)
    spooling.attempt_writer.admit(start).result(30)
    refuse(spooling, "attempts", "state <> 'sending'")

    assert isinstance(spooling.attempt_writer.settle(a_finish(start)).exception(30), StoreError)
    spooling.recover()
    allow(spooling, "attempts")
    spooling.recover()

    assert books(spooling, job) == ((60, 0, 0), (60, 0, 0))
    assert list(spooling.spool.read_all()) == []


@pytest.mark.parametrize("spooled", [False, True])
def test_a_result_without_an_attempt_is_logged_and_quarantined(spooling, spooled):
    job = a_job(spooling)
    nowhere = a_finish(a_start(job, call=CallId("nowhere", 7, CallKey(0, 0, 0, 0))), n=3)

    with capture_logs() as logs:
        if spooled:
            spooling.spool.write([nowhere])
            spooling.recover()
        else:
            spooling.attempt_writer.settle(nowhere).result(30)

    assert [(log["event"], log["attempt"]) for log in logs] == [
        ("result_without_attempt", "nowhere/7/0.0.0.0/3")
    ]
    assert [found for _, found in spooling.spool.quarantine.read_all()] == [[nowhere]]
    assert list(spooling.spool.read_all()) == []


def test_an_orphan_of_the_spool_is_quarantined_and_the_rest_is_stored(spooling):
    job = a_job(spooling)
    start = a_start(job)
    spooling.attempt_writer.admit(start).result(30)
    stray = a_finish(replace(start, call=CallId("nowhere", 0, CallKey(0, 0, 0, 0))))
    spooling.spool.write([stray, a_finish(start)])

    spooling.recover()

    assert spooling.jobs.get(job.id).spent == 60
    assert [found for _, found in spooling.spool.quarantine.read_all()] == [[stray]]
