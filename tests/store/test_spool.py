"""The spool keeps answers while the database is unavailable."""

import stat
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing, StoreReplacedError, StoreUnavailableError
from archon_batch.store import Admitted, AttemptRequest, AttemptResult, CallId, Store, database, now
from archon_batch.store.attempts import unsent_result
from archon_batch.store.spool import Spool
from tests.builders import a_finish, a_job, a_start, in_doubt

#: Includes text that UTF-8 cannot encode.
TEXTS = st.text(st.characters(codec=None))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COUNTS = st.none() | st.integers(0, 10**9)
REQUESTS = st.builds(
    AttemptRequest,
    call=st.builds(CallId, TEXTS, st.integers(0, 99), st.builds(CallKey, *[st.integers(0, 9)] * 4)),
    kind=TEXTS,
    model=TEXTS,
    fingerprint=TEXTS,
    hold=COUNTS,
    expires_after=st.floats(0, 900),
    use_cache=st.booleans(),
    owner=TEXTS,
    begun_at=st.builds(now),
)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS)
RESULTS = st.builds(
    AttemptResult,
    request=REQUESTS,
    attempt_number=st.integers(1, 9),
    billing=st.sampled_from(Billing),
    outcome=TEXTS,
    detail=st.none() | TEXTS,
    usage=USAGES,
    cost=COUNTS,
    estimated=st.booleans(),
    reply=st.none()
    | st.builds(Reply, st.none() | TEXTS, st.none() | TEXTS, USAGES, st.none() | TEXTS, TEXTS),
    ended_at=st.builds(now),
)


@given(results=st.lists(RESULTS, max_size=3))
def test_results_are_read_back_as_written(tmp_path_factory, results):
    spool = Spool(tmp_path_factory.mktemp("spool"))

    spool.write(results)

    ((path, found),) = spool.read_all()
    assert found == results
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_spool_belongs_to_one_database_and_is_private(tmp_path):
    one, other = (
        Spool.for_database(tmp_path / "deep" / "spool", "one"),
        Spool.for_database(tmp_path, "other"),
    )

    one.write([])

    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    assert len(list(one.read_all())) == 1
    assert list(other.read_all()) == []
    assert one.folder != other.folder


@pytest.mark.parametrize("text", ["", "[{}]", "[1]", "{", '[{"start": {"call": [1]}}]'])
def test_an_unreadable_file_is_renamed_and_stops_nothing(tmp_path, text):
    spool = Spool(tmp_path)
    (tmp_path / "00.json").write_text(text)
    spool.write([])

    assert [found for _, found in spool.read_all()] == [[]]
    assert (tmp_path / "00.unreadable").read_text() == text


class Away:
    """A database that can be taken away and given back."""

    def __init__(self, store: Store) -> None:
        self.store = store
        url = store.database.engine.url
        self._name = url.database
        self._server = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")

    @contextmanager
    def away(self):
        with self._server.connect() as connection:
            alter = f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS"
            connection.exec_driver_sql(f"{alter} false")
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._name,),
            )
            yield
            connection.exec_driver_sql(f"{alter} true")
        self._server.dispose()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(database, "MAX_UNAVAILABLE_SECONDS", 0.3)


@pytest.mark.postgres
@pytest.mark.usefixtures("impatient")
def test_an_answer_survives_a_long_outage_and_the_end_of_the_process(postgres_url, tmp_path):
    store = Store.open(postgres_url, tmp_path)
    job = a_job(store)
    start = a_start(job, slot=0)
    store.attempt_writer.admit(start).result(30)

    with Away(store).away():
        end = store.attempt_writer.settle(a_finish(start))
        admission = store.attempt_writer.admit(a_start(job, slot=1))
        assert end.exception(30) is None
        assert isinstance(admission.exception(30), StoreUnavailableError)
        store.close()

    again = Store.open(postgres_url, tmp_path)
    assert again.jobs.get(job.id).spent == 0
    assert again.recover() == 0
    assert again.jobs.get(job.id).spent == 60
    assert again.item_results.question_and_replies(job.id, 0)[1] == {
        CallKey(0, 0, 0, 0): Reply("four", finish_reason="stop")
    }
    assert list(Spool.for_database(tmp_path, again.database.canonical_address).read_all()) == []
    again.close()


@pytest.mark.postgres
@pytest.mark.usefixtures("impatient")
def test_without_disk_space_answers_wait_for_the_database(postgres_url, tmp_path):
    no_folder = tmp_path / "file"
    no_folder.write_text("in the way")
    store = Store.open(postgres_url, no_folder)
    job = a_job(store)
    start = a_start(job, slot=0)
    store.attempt_writer.admit(start).result(30)

    with Away(store).away():
        end = store.attempt_writer.settle(a_finish(start))
        with pytest.raises(TimeoutError):
            end.result(1)

    assert end.exception(30) is None
    assert store.jobs.get(job.id).spent == 60
    store.close()


def test_a_spooled_answer_resolves_an_attempt_marked_in_doubt(any_url, tmp_path):
    store = Store.open(any_url, tmp_path)
    job = a_job(store)
    start = a_start(job, slot=0)
    store.attempt_writer.admit(start).result(30)
    store.attempt_writer.settle(in_doubt(start)).result(30)
    assert store.spool
    store.spool.write([a_finish(start)])
    store.spool.write([a_finish(start)])

    store.recover()

    found = store.jobs.get(job.id)
    assert (found.spent, found.in_doubt) == (60, 0)
    assert store.attempt_writer.admit(start).result(30) != Admitted(2, 2, 1)
    store.close()


def test_the_spool_does_not_depend_on_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Store.open("sqlite:///store.db", tmp_path)
    other = Store.open(f"sqlite:///{tmp_path}/store.db", tmp_path)

    assert one.spool == other.spool
    one.close()
    other.close()


def lose_confirmations(store, patch):
    """Every commit of attempts succeeds, and then seems to have failed."""
    commit = store.attempt_writer._commit_transaction

    def commit_and_fail(*given):
        commit(*given)
        raise StoreReplacedError("database: replaced after the commit")

    patch.setattr(store.attempt_writer, "_commit_transaction", commit_and_fail)


def test_an_attempt_whose_commit_seemed_to_fail_is_recorded_as_not_sent(
    any_url, tmp_path, monkeypatch
):
    store = Store.open(any_url, tmp_path / "spool")
    job = a_job(store)
    with monkeypatch.context() as patch:
        lose_confirmations(store, patch)
        admission = store.attempt_writer.admit(a_start(job))
        assert isinstance(admission.exception(30), StoreReplacedError)
    store.close()

    again = Store.open(any_url, tmp_path / "spool")
    assert again.jobs.get(job.id).held == 100
    again.recover()

    found = again.jobs.get(job.id)
    assert (found.spent, found.held, found.in_doubt) == (0, 0, 0)
    (call,) = again.item_results.calls(job.id, 0)
    assert [(a.state, a.outcome) for a in call.attempts] == [("not_sent", "unreachable")]
    again.close()


@pytest.mark.parametrize("other", [{"owner": "elsewhere:1:1"}, {"begun_at": EPOCH}], ids=list)
def test_that_an_attempt_was_not_sent_changes_no_attempt_of_another_request(
    any_url, tmp_path, other
):
    store = Store.open(any_url, tmp_path)
    job = a_job(store)
    store.attempt_writer.admit(start := a_start(job)).result(30)
    assert store.spool
    store.spool.unsent.write([unsent_result(replace(start, **other), 1, "away")])
    store.spool.unsent.write([unsent_result(a_start(job, slot=1), 1, "never recorded")])

    store.recover()

    assert store.jobs.get(job.id).held == 100
    assert not list(store.spool.folder.rglob("*.json"))
    store.close()


def test_a_result_that_is_no_unsent_one_is_quarantined_without_its_attempt(any_url, tmp_path):
    """A provider that cannot be reached has sent nothing either, and its attempt was recorded."""
    store = Store.open(any_url, tmp_path)
    unreachable = unsent_result(a_start(a_job(store)), 1, "connection refused")

    store.attempt_writer.settle(unreachable).result(30)

    assert store.spool
    assert [found for _, found in store.spool.quarantine.read_all()] == [[unreachable]]
    store.close()


@pytest.mark.usefixtures("impatient")
def test_a_spool_that_takes_no_unsent_attempt_is_logged(tmp_path, monkeypatch):
    no_folder = tmp_path / "file"
    no_folder.write_text("in the way")
    store = Store.open(f"sqlite:///{tmp_path}/store.db", no_folder)
    job = a_job(store)
    with monkeypatch.context() as patch, capture_logs() as logs:
        lose_confirmations(store, patch)
        admission = store.attempt_writer.admit(a_start(job))
        assert isinstance(admission.exception(30), StoreReplacedError)
    store.close()

    assert "spool_failed" in {entry["event"] for entry in logs}
