"""An empty, a current, an earlier and an unknown database."""

import json
import os
import subprocess
import sys
from datetime import date

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from archon_batch.archon import Answer, Failed, ItemWarning
from archon_batch.errors import SchemaError
from archon_batch.store import Store, upgrade
from archon_batch.store.database import create_engine
from archon_batch.store.migrations import HEAD
from archon_batch.store.migrations.versions import m0013_names as names
from tests.builders import a_finish, a_job, a_start, in_doubt
from tests.store import schema_0012

DAY = date(2026, 1, 31)
#: The tables that ``filled`` fills, in an order in which rows can be inserted.
TABLES = ("jobs", "items", "attempts", "calls", "completions", "shard_cursors", "scheduled_runs")


def rows(engine, name):
    table = SQLModel.metadata.tables[name]
    order = [column.name for column in table.primary_key]
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*order))]


@pytest.fixture
def filled(tmp_path):
    """A job in progress: an answer, a failure, a reply, an attempt in flight and one in doubt."""
    store = Store.open(f"sqlite:///{tmp_path}/filled.db")
    job = a_job(store, questions=5)
    requests = [a_start(job, ix=ix, owner="elsewhere:1:1") for ix in (0, 1, 2)]
    for request in requests:
        store.attempt_writer.admit(request).result(30)
    store.attempt_writer.settle(a_finish(requests[0])).result(30)
    store.attempt_writer.settle(in_doubt(requests[2])).result(30)
    warning = ItemWarning(0, 0, "unparsed", 'of "kind": "cut"')
    store.items.finish(
        job.id, [(3, Answer("four", "0.0.0")), (4, Failed(0, "no", warnings=(warning,)))]
    )
    store.shard_cursors.start(job.id, 1, "broker", "joins")
    run = store.scheduled_runs.start("job.yaml", DAY, "nightly")
    store.scheduled_runs.finish(run.job_file, run.day, "export_failed", None, failed=True)
    yield store
    store.close()

    return date(2026, 1, 31)


def as_before(table, row):
    """The row with the columns and values of schema 0012."""
    old_columns = {new: old for old, new in names._COLUMNS.get(table, {}).items()}
    row = {old_columns.get(name, name): value for name, value in row.items()}
    if table == "items":
        row["status"] = {"failed": "given_up"}.get(row["status"], row["status"])
        if row["notes"]:
            row["notes"] = row["notes"].replace('"kind": "unparsed"', '"kind": "unreadable"')
    if table == "scheduled_runs":
        row["state"] = {"export_failed": "unexported"}[row["state"]]
    return row


@pytest.fixture
def earlier(any_url, filled):
    """A database of schema 0012 with those rows."""
    engine = create_engine(any_url)
    old_names = {new: old for old, new in names._TABLES.items()}
    with engine.begin() as connection:
        tables = schema_0012.create(connection).tables
        for name in TABLES:
            found = [as_before(name, row) for row in rows(filled.database.engine, name)]
            connection.execute(sa.insert(tables[old_names.get(name, name)]), found)
    yield engine
    engine.dispose()


def assert_current(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


@pytest.mark.slow
def test_an_earlier_database_is_upgraded_with_every_row_and_its_job_continues(
    any_url, earlier, filled
):
    with pytest.raises(SchemaError, match="run: archon-batch db upgrade"):
        Store.open(any_url)

    environment = os.environ | {"ARCHON_BATCH_DATABASE_URL": any_url}
    command = [sys.executable, "-m", "archon_batch", "db", "upgrade"]
    subprocess.run(command, env=environment, check=True, timeout=50)

    assert_current(earlier)
    store = Store.open(any_url)
    (job,) = store.jobs.all()
    assert job == filled.jobs.get(job.id)
    assert list(store.item_results.all(job.id)) == list(filled.item_results.all(job.id))
    for ix in range(job.rows):
        assert store.item_results.calls(job.id, ix) == filled.item_results.calls(job.id, ix)
    assert store.scheduled_runs.all() == filled.scheduled_runs.all()
    assert store.usage.by_group(job.id, "component") == store.usage.recomputed(job.id, "component")
    # The triggers of the new names are in place.
    store.attempt_writer.settle(a_finish(a_start(job, ix=1, owner="elsewhere:1:1"))).result(30)
    assert store.usage.by_group(job.id, "component") == store.usage.recomputed(job.id, "component")
    assert store.usage.total(job.id).attempts == 3
    store.close()


def test_an_empty_database_gets_the_current_schema(any_url):
    store = Store.open(any_url)

    assert_current(store.database.engine)
    assert json.dumps(store.jobs.all()) == "[]"
    store.close()


def test_a_current_database_is_opened_and_its_upgrade_changes_nothing(any_url):
    store = Store.open(any_url)
    job = a_job(store)
    store.close()

    upgrade(any_url)

    store = Store.open(any_url)
    assert store.jobs.all() == [job]
    store.close()


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("0011", "too old to be upgraded: finish its jobs with the archon-batch that made it"),
        ("9999", "a newer archon-batch made it; install that version"),
    ],
)
def test_another_version_is_refused_with_advice_and_left_unchanged(any_url, version, advice):
    store = Store.open(any_url)
    with store.database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    store.close()

    for attempt in (Store.open, upgrade):
        with pytest.raises(
            SchemaError, match=f"schema {version}, this program needs {HEAD}.*{advice}"
        ):
            attempt(any_url)
