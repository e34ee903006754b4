"""The verification: books that were tampered with do not pass."""

import pytest
import sqlalchemy as sa

from archon_batch.engine.process import Process
from archon_batch.engine.rehearsal import rehearse
from archon_batch.ledger import Price
from archon_batch.settings import Settings
from archon_batch.verify import verify
from tests.builders import a_job, a_question, an_architecture

#: What is done to the books, and the check that no longer holds.
TAMPERED = [
    ("UPDATE jobs SET spent = spent + 1", "money spent"),
    ("UPDATE attempts SET cost = cost + 1 WHERE key = '0.0.0.0'", "money spent"),
    ("UPDATE jobs SET reserved = 1", "money in flight"),
    ("UPDATE jobs SET in_doubt = 1", "money in doubt"),
    ("UPDATE jobs SET budget = 0", "within the budget"),
    ("UPDATE jobs SET rows = rows + 1", "every row has one outcome or is open"),
    ("UPDATE items SET answer = NULL", "outcomes are whole"),
    ("UPDATE items SET status = 'lost'", "outcomes are whole"),
    ("UPDATE items SET status = 'open', answer = NULL, ended_at = NULL", "a job that is done"),
    ("UPDATE attempts SET outcome = 'rate_limit'", "every reply was found or paid for"),
    ("DELETE FROM attempts WHERE key = '2.0.0.0'", "every reply was found or paid for"),
    ("DELETE FROM calls WHERE key = '1.0.0.0'", "no answer was lost"),
    ("UPDATE items SET answer = 'something else'", "answers follow from their replies"),
]


@pytest.fixture
def here(tmp_path):
    opened = Process(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()


def a_done_job(here):
    """A job that is done, with its books in order."""
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker", "fuser")
    prices = {"scripted/plausible": Price(1_000_000, 1_000_000)}
    one = [a_question()]
    return rehearse(
        here, a_job(here.store, architecture=architecture, questions=one, prices=prices)
    )


def checks(here, job):
    return list(verify(here.store, here.store.jobs.get(job.id), here.job(job.id)))


def wrong(here, job):
    return [check.what for check in checks(here, job) if not check.ok]


def test_books_in_order_pass(any_url):
    here = Process(Settings(database_url=any_url))
    done = a_done_job(here)
    found = {check.what: check.found for check in checks(here, done)}
    bad = wrong(here, done)
    here.close()

    assert bad == []
    assert found["every row has one outcome or is open"] == "1 answered"
    assert found["answers follow from their replies"] == "1 row worked out again"


@pytest.mark.parametrize(("statement", "what"), TAMPERED, ids=range(len(TAMPERED)))
def test_books_that_were_tampered_with_do_not_pass(here, statement, what):
    done = a_done_job(here)

    with here.store.database.writing() as connection:
        connection.execute(sa.text(statement))

    assert any(name.startswith(what) for name in wrong(here, done))


def test_a_bill_above_what_was_asked_for_is_told_and_is_no_broken_book(here):
    done = a_done_job(here)
    more = (
        "UPDATE attempts SET cost = reserve + 70 WHERE key = '0.0.0.0'",
        "UPDATE jobs SET spent = (SELECT SUM(cost) FROM attempts)",
        "UPDATE jobs SET budget = spent - 70",
    )
    with here.store.database.writing() as connection:
        for statement in more:
            connection.execute(sa.text(statement))

    found = {check.what: check for check in checks(here, done)}["within the budget"]

    assert found.ok
    assert found.found.startswith(
        "over the budget by 0.00000007 USD, since the provider billed more"
    )
    assert found.found.endswith(": 1 reply")
    with here.store.database.writing() as connection:
        connection.execute(sa.text("UPDATE jobs SET budget = budget - 1"))
    assert "within the budget" in wrong(here, done)


def test_an_attempt_that_was_sent_twice_is_seen(here):
    done = a_done_job(here)

    with here.store.database.writing() as connection:
        connection.execute(sa.text("DROP INDEX one_open_attempt"))
        columns = "ix, key, layer, component, kind, model, fingerprint, owner, begun_at, expires_at"
        for n in (8, 9):
            copied = (
                f"INSERT INTO attempts (job_id, n, state, reserve, estimated, counts, {columns}) "  # noqa: S608
                f"SELECT job_id, {n}, 'sending', 0, 0, 1, {columns} FROM attempts LIMIT 1"
            )
            connection.execute(sa.text(copied))

    assert wrong(here, done) == ["no call is sent twice at once"]


def test_a_job_under_way_passes(here):
    job = a_job(here.store)

    assert wrong(here, job) == []


def test_rows_that_were_given_up_and_replies_that_were_found_pass(here):
    rough = an_architecture("generator", defaults={"model": "scripted/rough"})
    rows = [a_question(f"What is {n}?", row=f"row-{n}") for n in range(40)]

    first = rehearse(here, a_job(here.store, architecture=rough, questions=rows, shard=40))
    again = a_job(here.store, architecture=rough, questions=rows, shard=40, name="again")
    again = rehearse(here, again)

    assert here.store.accounts.progress(first.id).given_up > 0
    assert here.store.accounts.total(again.id).cached_calls > 0
    assert wrong(here, first) == wrong(here, again) == []
