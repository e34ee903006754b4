"""Verification: a ledger that was tampered with does not pass."""

import pytest
import sqlalchemy as sa

from archon_batch.engine.in_process import run_first_shard
from archon_batch.engine.runtime import Runtime
from archon_batch.jobs.verify import verify_job
from archon_batch.money import Price
from archon_batch.settings import Settings
from tests.builders import a_finish, a_job, a_question, a_start, an_architecture, in_doubt

#: A change to the database, and the check that then fails.
TAMPERED = [
    ("UPDATE jobs SET spent = spent + 1", "money spent"),
    ("UPDATE attempts SET cost = cost + 1 WHERE key = '0.0.0.0'", "money spent"),
    ("UPDATE jobs SET held = 1", "money in flight"),
    ("UPDATE jobs SET in_doubt = 1", "money in doubt"),
    ("UPDATE jobs SET budget = 0", "within the budget"),
    ("UPDATE jobs SET rows = rows + 1", "every row is open or has one final state"),
    ("UPDATE items SET answer = NULL", "every row fits its state"),
    ("UPDATE items SET status = 'lost'", "every row fits its state"),
    ("UPDATE items SET status = 'open', answer = NULL, ended_at = NULL", "a done or cancelled job"),
    ("UPDATE attempts SET outcome = 'rate_limit'", "every reply is cached or paid for"),
    ("DELETE FROM attempts WHERE key = '2.0.0.0'", "every reply is cached or paid for"),
    ("DELETE FROM calls WHERE key = '1.0.0.0'", "no answer was lost"),
    ("UPDATE items SET answer = 'something else'", "answers follow from their replies"),
]


@pytest.fixture
def here(tmp_path):
    opened = Runtime(
        Settings(
            database_url=f"sqlite:///{tmp_path}/store.db", spool_folder=str(tmp_path / "spool")
        )
    )
    yield opened
    opened.close()


def a_done_job(here):
    """A done job with a correct ledger."""
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker", "fuser")
    prices = {"scripted/plausible": Price(1_000_000, 1_000_000)}
    one = [a_question()]
    return run_first_shard(
        here, a_job(here.store, architecture=architecture, questions=one, prices=prices)
    )


def checks(here, job):
    return list(verify_job(here.store, here.store.jobs.get(job.id), here.job(job.id)))


def wrong(here, job):
    return [check.name for check in checks(here, job) if not check.ok]


def test_a_correct_ledger_passes(any_url):
    here = Runtime(Settings(database_url=any_url))
    done = a_done_job(here)
    found = {check.name: check.detail for check in checks(here, done)}
    bad = wrong(here, done)
    here.close()

    assert bad == []
    assert found["every row is open or has one final state"] == "1 answered"
    assert found["answers follow from their replies"] == "1 row recomputed"


@pytest.mark.parametrize(("statement", "what"), TAMPERED, ids=range(len(TAMPERED)))
def test_a_ledger_that_was_tampered_with_does_not_pass(here, statement, what):
    done = a_done_job(here)

    with here.store.database.write_transaction() as connection:
        connection.execute(sa.text(statement))

    assert any(name.startswith(what) for name in wrong(here, done))


def pay_again(here, **changed):
    """Insert a second billed attempt for each call of the first layer."""
    columns = [
        "job_id", "ix", "key", "layer", "component", "kind", "model", "fingerprint", "owner",
        "state", "outcome", "detail", "hold", "estimated", "counted", "unused", "begun_at",
        "expires_at",
    ]  # fmt: skip
    values = ", ".join(changed.get(name, name) for name in columns)
    with here.store.database.write_transaction() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO attempts ({', '.join(columns)}, attempt_number, cost) "  # noqa: S608
                f"SELECT {values}, attempt_number + 1, 0 FROM attempts WHERE layer = 0"
            )
        )


def test_a_call_that_was_paid_again_after_its_answer_is_found(here):
    done = a_done_job(here)

    pay_again(here)

    assert wrong(here, done) == ["no call was paid twice without a reason"]
    found = {check.name: check.detail for check in checks(here, done)}
    assert found["no call was paid twice without a reason"].startswith("2 calls")


@pytest.mark.parametrize(
    "explained",
    [
        "UPDATE attempts SET counted = false WHERE attempt_number = 1",
        "UPDATE attempts SET detail = 'late: it was in doubt' WHERE attempt_number = 1",
        "UPDATE attempts SET outcome = 'broken_reply' WHERE attempt_number = 1 AND layer = 0",
        "UPDATE attempts SET state = 'not_billed' WHERE attempt_number = 2",
    ],
    ids=["a retry", "a late answer", "no answer", "not billed"],
)
def test_a_call_that_was_paid_twice_for_a_reason_passes(here, explained):
    done = a_done_job(here)

    pay_again(here)
    with here.store.database.write_transaction() as connection:
        connection.execute(sa.text(explained))

    assert "no call was paid twice without a reason" not in wrong(here, done)


def test_a_late_answer_is_why_its_call_is_paid_twice(here):
    job = a_job(here.store)
    start = a_start(job)
    here.store.attempt_writer.admit(start).result(30)
    here.store.attempt_writer.settle(in_doubt(start)).result(30)
    second = a_start(job)
    here.store.attempt_writer.admit(second).result(30)
    here.store.attempt_writer.settle(a_finish(second, 2)).result(30)
    here.store.attempt_writer.settle(a_finish(start, 1)).result(30)

    found = {check.name: check for check in checks(here, job)}

    assert found["no call was paid twice without a reason"].ok
    assert found["no call was paid twice without a reason"].detail.endswith("came late: 1")


def test_a_quarantined_result_is_reported(here):
    done = a_done_job(here)
    here.store.spool.quarantine.write([a_finish(a_start(done))])

    assert wrong(here, done) == ["no result is quarantined"]
    assert [problem for problem in here.store.problems() if "quarantine" in problem]


def test_an_open_row_of_a_cancelled_job_is_found(here):
    job = a_job(here.store)
    here.store.jobs.change_state(job.id, "cancelled", from_states=["running"])

    assert wrong(here, job) == ["a done or cancelled job has no open row"]


def test_overbilling_is_reported_and_fails_no_check(here):
    done = a_done_job(here)
    more = (
        "UPDATE attempts SET cost = hold + 70 WHERE key = '0.0.0.0'",
        "UPDATE jobs SET spent = (SELECT SUM(cost) FROM attempts)",
        "UPDATE jobs SET budget = spent - 70",
    )
    with here.store.database.write_transaction() as connection:
        for statement in more:
            connection.execute(sa.text(statement))

    found = {check.name: check for check in checks(here, done)}["within the budget"]

    assert found.ok
    assert found.detail.startswith(
        "over the budget by 0.00000007 USD: the provider billed more than the request allowed"
    )
    assert found.detail.endswith(" for 1 reply")
    with here.store.database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE jobs SET budget = budget - 1"))
    assert "within the budget" in wrong(here, done)


def test_a_call_that_was_sent_twice_at_once_is_found(here):
    done = a_done_job(here)

    with here.store.database.write_transaction() as connection:
        connection.execute(sa.text("DROP INDEX one_open_attempt"))
        columns = "ix, key, layer, component, kind, model, fingerprint, owner, begun_at, expires_at"
        for n in (8, 9):
            copied = (
                f"INSERT INTO attempts (job_id, attempt_number, state, hold, estimated, counted, unused, {columns}) "  # noqa: S608
                f"SELECT job_id, {n}, 'sending', 0, 0, 1, 0, {columns} FROM attempts LIMIT 1"
            )
            connection.execute(sa.text(copied))

    assert wrong(here, done) == ["no call was sent twice at once"]


def test_a_running_job_passes(here):
    job = a_job(here.store)

    assert wrong(here, job) == []


def test_failed_rows_and_cached_replies_pass(here):
    rough = an_architecture("generator", defaults={"model": "scripted/rough"})
    rows = [a_question(f"What is {n}?", row=f"row-{n}") for n in range(40)]

    first = run_first_shard(here, a_job(here.store, architecture=rough, questions=rows, shard=40))
    again = a_job(here.store, architecture=rough, questions=rows, shard=40, name="again")
    again = run_first_shard(here, again)

    assert here.store.usage.progress(first.id).failed > 0
    assert here.store.usage.total(again.id).cached_calls > 0
    assert wrong(here, first) == wrong(here, again) == []
