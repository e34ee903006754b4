"""The connection, its settings, and the history of the tables."""

import gc
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from archon_batch.errors import SchemaError, SettingsError, StoreError, StoreUnavailableError
from archon_batch.store import Store, upgrade
from archon_batch.store.database import Database, create_engine
from archon_batch.store.migrations import HEAD
from tests.builders import a_job

ROOT = Path(__file__).parents[2]


def test_a_new_database_has_the_tables_of_the_program(any_url):
    upgrade(any_url)

    engine = create_engine(any_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        difference = compare_metadata(context, SQLModel.metadata)
        indexes = {
            str(index["name"])
            for table in SQLModel.metadata.tables
            for index in sa.inspect(connection).get_indexes(table)
        }
    engine.dispose()
    assert difference == []
    wanted = {str(i.name) for table in SQLModel.metadata.tables.values() for i in table.indexes}
    # Postgres has one more, of its own, for the submissions that are unique.
    assert indexes - {"jobs_submit_key_key"} == wanted


def test_upgrading_a_current_database_changes_nothing(any_url):
    store = Store.open(any_url)
    job = a_job(store)
    store.close()

    upgrade(any_url)

    again = Store.open(any_url)
    assert again.jobs.get(job.id) == job
    again.close()


OPENERS = """
import os, sys
import alembic.command
from archon_batch.store import Store
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        Store.open(sys.argv[1]).close()
        sys.exit()
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.slow
def test_programs_that_open_the_same_new_database_create_its_tables_once(any_url):
    finished = subprocess.run([sys.executable, "-c", OPENERS, any_url], cwd=ROOT, check=False)

    assert finished.returncode == 0


def test_a_database_of_another_version_is_refused(any_url):
    upgrade(any_url)
    engine = create_engine(any_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    found, wanted = refused(any_url)

    assert (found, wanted) == ("9999", HEAD)
    # A connection that was left open warns when it is collected.
    gc.collect()


def refused(url):
    with pytest.raises(SchemaError) as refusal:
        Store.open(url)
    return refusal.value.args[:2]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nightly.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////no/such/folder/nightly.db",
        "sqlite+aiosqlite:///nightly.db",
        "postgres://127.0.0.1/nightly",
        "postgresql://127.0.0.1/nightly",
        "postgresql+psycopg2://127.0.0.1/nightly",
        "postgresql+psycopg://127.0.0.1:port/nightly",
        "mysql://127.0.0.1/nightly",
        "nonsense://127.0.0.1/nightly",
    ],
)
def test_an_invalid_address_is_refused(url):
    with pytest.raises(SettingsError) as refusal:
        Store.open(url)

    assert refusal.value.variable == "ARCHON_BATCH_DATABASE_URL"


@pytest.mark.postgres
def test_an_unreachable_server_is_reported_without_its_password():
    pytest.importorskip("psycopg")

    with pytest.raises(StoreError) as refusal:
        Store.open("postgresql+psycopg://someone:secret@127.0.0.1:1/nightly")

    assert type(refusal.value) is StoreUnavailableError
    assert "refused" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "store.db").write_text("prompts, one a line\n" * 99)

    with pytest.raises(StoreError, match="not a database"):
        Store.open(f"sqlite:///{tmp_path}/store.db")


def test_a_folder_is_not_a_database(tmp_path):
    (tmp_path / "store.db").mkdir()

    with pytest.raises(StoreError, match="unable to open"):
        Store.open(f"sqlite:///{tmp_path}/store.db")


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 15_000)],
)
def test_every_sqlite_connection_has_safe_settings(store, pragma, value):
    with store.database.read_transaction() as one, store.database.write_transaction() as other:
        found = [c.exec_driver_sql(f"PRAGMA {pragma}").scalar() for c in (one, other)]

    assert found == [value, value]


def test_a_reader_sees_one_snapshot(any_store):
    job = a_job(any_store)

    with any_store.database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE jobs SET spent = 5"))
        during = any_store.jobs.get(job.id).spent

    assert (during, any_store.jobs.get(job.id).spent) == (0, 5)


def test_a_failed_transaction_leaves_nothing(any_store):
    job = a_job(any_store)

    with pytest.raises(RuntimeError), any_store.database.write_transaction() as connection:  # noqa: PT012
        connection.execute(sa.text("UPDATE jobs SET spent = 5"))
        raise RuntimeError

    assert any_store.jobs.get(job.id).spent == 0


def test_a_driver_error_becomes_one_line(any_store):
    with (
        pytest.raises(StoreError) as refusal,
        any_store.database.write_transaction() as connection,
    ):
        connection.execute(sa.text("SELECT * FROM nowhere"))

    assert str(refusal.value).startswith("database: ")
    assert "\n" not in str(refusal.value)
    assert "nowhere" in str(refusal.value)


def test_a_writer_waits_for_another(store):
    job = a_job(store)
    other = Database.open(str(store.database.engine.url))

    def add():
        with other.write_transaction() as connection:
            (spent,) = connection.exec_driver_sql("SELECT spent FROM jobs").one()
            connection.exec_driver_sql("UPDATE jobs SET spent = ?", (spent + 1,))

    with ThreadPoolExecutor() as pool, store.database.write_transaction() as connection:
        waiting = pool.submit(add)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        connection.exec_driver_sql("UPDATE jobs SET spent = spent + 1")
        connection.commit()
        waiting.result(30)

    other.close()
    assert store.jobs.get(job.id).spent == 2


def test_opening_a_current_database_is_quick(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    upgrade(url)
    begun = time.process_time()

    Database.open(url).close()

    assert time.process_time() - begun < 0.5


@pytest.mark.slow
def test_another_connection_does_not_release_existing_locks(tmp_path):
    """To close any handle of a file gives up what a process has locked in it."""
    url = f"sqlite:///{tmp_path}/store.db"
    store = Store.open(url)
    opens = "import sys; from archon_batch.store import Store; Store.open(sys.argv[1]).close()"
    with store.database.read_transaction(), store.database.read_transaction():
        subprocess.run([sys.executable, "-c", opens, url], cwd=ROOT, check=True)

    # The last that goes takes it along: it took itself for the last.
    assert (tmp_path / "store.db-wal").exists()
    store.close()
