"""What a database's errors mean, as its server or its library raises them."""

import select
import sqlite3
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa

from archon_batch.errors import StoreError, StoreUnavailableError
from archon_batch.store import AlreadySettled, Store, database, retry_while_unavailable, upgrade
from archon_batch.store.database import create_engine
from archon_batch.store.error_codes import SQLSTATE_KINDS, DatabaseErrorKind
from tests.builders import a_finish, a_job, a_start

#: A code of each class that there is, and what it is to mean.
CODES = {
    "08000": DatabaseErrorKind.UNAVAILABLE,
    "08P01": DatabaseErrorKind.UNAVAILABLE,
    "0A000": DatabaseErrorKind.RECONNECT,
    "22001": DatabaseErrorKind.REJECTED,
    "22003": DatabaseErrorKind.REJECTED,
    "22021": DatabaseErrorKind.REJECTED,
    "22P05": DatabaseErrorKind.REJECTED,
    "23502": DatabaseErrorKind.REJECTED,
    "23503": DatabaseErrorKind.REJECTED,
    "23505": DatabaseErrorKind.REJECTED,
    "25006": DatabaseErrorKind.RECONNECT,
    "25P02": DatabaseErrorKind.REJECTED,
    "25P03": DatabaseErrorKind.RETRY,
    "25P04": DatabaseErrorKind.RETRY,
    "26000": DatabaseErrorKind.RECONNECT,
    "28000": DatabaseErrorKind.MISCONFIGURED,
    "28P01": DatabaseErrorKind.MISCONFIGURED,
    "3D000": DatabaseErrorKind.MISCONFIGURED,
    "3F000": DatabaseErrorKind.MISCONFIGURED,
    "40001": DatabaseErrorKind.RETRY,
    "40002": DatabaseErrorKind.REJECTED,
    "40003": DatabaseErrorKind.RETRY,
    "40P01": DatabaseErrorKind.RETRY,
    "42501": DatabaseErrorKind.MISCONFIGURED,
    "42703": DatabaseErrorKind.MISCONFIGURED,
    "42P01": DatabaseErrorKind.MISCONFIGURED,
    "42P05": DatabaseErrorKind.RECONNECT,
    "53100": DatabaseErrorKind.UNAVAILABLE,
    "53200": DatabaseErrorKind.UNAVAILABLE,
    "53300": DatabaseErrorKind.UNAVAILABLE,
    "53400": DatabaseErrorKind.UNAVAILABLE,
    "54000": DatabaseErrorKind.REJECTED,
    "54001": DatabaseErrorKind.REJECTED,
    "55006": DatabaseErrorKind.RETRY,
    "55P03": DatabaseErrorKind.RETRY,
    "57014": DatabaseErrorKind.RETRY,
    "57P01": DatabaseErrorKind.UNAVAILABLE,
    "57P02": DatabaseErrorKind.UNAVAILABLE,
    "57P03": DatabaseErrorKind.UNAVAILABLE,
    "57P04": DatabaseErrorKind.MISCONFIGURED,
    "57P05": DatabaseErrorKind.UNAVAILABLE,
    "58000": DatabaseErrorKind.UNAVAILABLE,
    "58030": DatabaseErrorKind.UNAVAILABLE,
    "72000": DatabaseErrorKind.RETRY,
    "F0000": DatabaseErrorKind.MISCONFIGURED,
    "P0001": DatabaseErrorKind.REJECTED,
    "XX000": DatabaseErrorKind.MISCONFIGURED,
    "XX001": DatabaseErrorKind.MISCONFIGURED,
    "XX002": DatabaseErrorKind.MISCONFIGURED,
}
WAITED_FOR = {DatabaseErrorKind.UNAVAILABLE, DatabaseErrorKind.RETRY, DatabaseErrorKind.RECONNECT}


@pytest.fixture
def served(request):
    """A store on Postgres."""
    opened = Store.open(request.getfixturevalue("_shared_postgres_url"))
    yield opened
    opened.close()


def test_every_class_of_the_table_has_a_test():
    assert all(any(code.startswith(known) for code in CODES) for known in SQLSTATE_KINDS)


@pytest.mark.postgres
@pytest.mark.parametrize(("code", "means"), CODES.items())
def test_a_server_error_is_retried_or_raised(served, code, means):
    raised = f"DO $$ BEGIN RAISE EXCEPTION 'it is so' USING ERRCODE = '{code}'; END $$"

    with pytest.raises(StoreError, match="it is so") as refusal:  # noqa: SIM117
        with served.database.write_transaction() as connection:
            connection.exec_driver_sql(raised)

    assert isinstance(refusal.value, StoreUnavailableError) is (means in WAITED_FOR)
    # After any error, the next transaction has a working connection.
    assert served.jobs.all() is not None


def _read_only(connection):
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql("UPDATE jobs SET rows = 0")


def _ended(connection):
    connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.exec_driver_sql("SELECT 1")


def _idle(connection):
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 1")
    raw = connection.connection.driver_connection
    # Until the server has ended it.
    select.select([raw.fileno()], [], [], 20)
    connection.exec_driver_sql("SELECT 1")


def _slow(connection):
    connection.exec_driver_sql("SET LOCAL statement_timeout = 1")
    connection.exec_driver_sql("SELECT pg_sleep(20)")


def _locked(connection):
    with connection.engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        connection.exec_driver_sql("LOCK TABLE jobs NOWAIT")


@pytest.mark.postgres
@pytest.mark.parametrize("befalls", [_read_only, _ended, _idle, _slow, _locked])
def test_an_interrupted_transaction_is_retried(served, befalls):
    with pytest.raises(StoreUnavailableError), served.database.write_transaction() as connection:
        befalls(connection)

    assert served.jobs.all() is not None


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SET ROLE nobody_of_that_name", "nobody_of_that_name"),
        ("SELECT 1/0", "division"),
    ],
)
def test_a_permanent_error_is_raised_at_once(served, statement, why):
    with (
        pytest.raises(StoreError, match=why) as refusal,
        served.database.write_transaction() as connection,
    ):
        connection.exec_driver_sql(statement)

    assert type(refusal.value) is StoreError


@contextmanager
def altered(url, setting):
    """The database of that address with a setting of its own."""
    server = sa.create_engine(
        create_engine(url).url.set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    name = create_engine(url).url.database
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting}")
        # Those that are connected have it as it was: they are ended, as a failover ends them.
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET {setting.partition(' ')[0]}")
    server.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("patient", [True, False])
def test_an_answer_survives_a_read_only_database(postgres_url, tmp_path, monkeypatch, patient):
    monkeypatch.setattr(database, "MAX_UNAVAILABLE_SECONDS", 60.0 if patient else 0.5)
    store = Store.open(postgres_url, tmp_path)
    job = a_job(store)
    start = a_start(job)
    store.attempt_writer.admit(start).result(30)

    with altered(postgres_url, "default_transaction_read_only = on"):
        end = store.attempt_writer.settle(a_finish(start))
        if not patient:
            assert end.exception(30) is None
            assert store.jobs.get(job.id).spent == 0

    assert end.exception(30) is None
    # What was connected in the meantime is told by its first write.
    retry_while_unavailable(store.recover)
    assert store.jobs.get(job.id).spent == 60
    assert store.attempt_writer.admit(start).result(30) == AlreadySettled()
    assert not list(tmp_path.rglob("*.json"))
    store.close()


@pytest.mark.postgres
def test_a_read_only_database_is_a_reported_problem(postgres_url):
    Store.open(postgres_url).close()

    with altered(postgres_url, "default_transaction_read_only = on"):
        store = Store.open(postgres_url)
        faults = store.problems()
        store.close()

    assert [fault for fault in faults if "read-only" in fault]


def shown(connection, name):
    return connection.exec_driver_sql(f"SHOW {name}").scalar()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("asked", "held_to"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply",) * 2]
)
def test_a_commit_is_durable_despite_other_database_settings(postgres_url, asked, held_to):
    with altered(postgres_url, f"synchronous_commit = {asked}"):
        store = Store.open(postgres_url)
        with store.database.write_transaction() as connection:
            found = shown(connection, "synchronous_commit")
        with store.database.write_transaction(durable=False) as connection:
            loose = shown(connection, "synchronous_commit")
        store.close()

    assert (found, loose) == (held_to, "off")


@pytest.mark.postgres
def test_rows_are_locked_before_they_are_read_despite_other_database_settings(postgres_url):
    with altered(postgres_url, "default_transaction_isolation = 'serializable'"):
        store = Store.open(postgres_url)
        with store.database.write_transaction() as connection:
            found = shown(connection, "transaction_isolation")
        store.close()

    assert found == "read committed"


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(postgres_url, encoding):
    url = create_engine(postgres_url).url
    server = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = f"{url.database}_narrow"
    with server.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    narrow = url.set(database=name).render_as_string(hide_password=False)

    try:
        for use in (Store.open, upgrade):
            with pytest.raises(StoreError, match=f"{encoding}; make one with UTF8") as refusal:
                use(narrow)
            assert type(refusal.value) is StoreError
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        server.dispose()


def _no_table(connection):
    connection.exec_driver_sql("SELECT * FROM nowhere")


def _may_not(connection):
    connection.exec_driver_sql("PRAGMA query_only = 1")
    connection.exec_driver_sql("UPDATE jobs SET rows = 0")


def _is_full(connection):
    (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    connection.exec_driver_sql("CREATE TABLE large AS SELECT randomblob(100000)")


@pytest.mark.parametrize(
    ("befalls", "away"), [(_no_table, False), (_may_not, True), (_is_full, True)]
)
def test_a_file_error_is_retried_or_raised(store, befalls, away):
    with pytest.raises(StoreError) as refusal, store.database.write_transaction() as connection:
        befalls(connection)

    assert isinstance(refusal.value, StoreUnavailableError) is away


def test_a_locked_file_is_waited_for(store, tmp_path):
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError), store.database.read_transaction() as connection:  # noqa: PT012
            connection.exec_driver_sql("PRAGMA busy_timeout = 1")
            connection.exec_driver_sql("UPDATE jobs SET rows = 0")
