"""``archon-batch db upgrade``, from the first schema up, with rows in the tables."""

import os
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from archon_batch.archon import Answer
from archon_batch.errors import SchemaError
from archon_batch.store import Store, migrations
from archon_batch.store.database import create_engine
from tests.builders import a_finish, a_job, a_start

#: The tables of the first schema, in an order in which rows may be put into them.
FIRST = ("jobs", "items", "attempts", "calls", "completions")


def rows(engine, name, columns=None):
    table = sa.Table(name, sa.MetaData(), autoload_with=engine)
    wanted = [table.c[column] for column in columns or table.c.keys()]
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(*wanted))]


@pytest.fixture
def filled(tmp_path):
    """A job under way: an answer, a reply, an attempt in flight, and a row of which nothing is known."""
    store = Store.open(f"sqlite:///{tmp_path}/filled.db")
    job = a_job(store, questions=4)
    starts = [a_start(job, ix=ix, owner="elsewhere:1:1") for ix in (0, 1)]
    for start in starts:
        store.attempt_writer.admit(start).result(30)
    store.attempt_writer.settle(a_finish(starts[0])).result(30)
    store.items.finish(job.id, [(2, Answer("four", "0.0.0"))])
    yield store
    store.close()


@pytest.fixture
def old(any_url, filled, monkeypatch):
    """A database of the first schema with those rows, and their columns of then."""
    engine = create_engine(any_url)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "HEAD", "0001")
        migrations.upgrade(engine)
    columns = {}
    for name in FIRST:
        table = sa.Table(name, sa.MetaData(), autoload_with=engine)
        columns[name] = list(table.c.keys())
        of_now = tables.__dict__[name]
        with engine.begin() as connection, filled.database.read_transaction() as source:
            wanted = sa.select(*(of_now.c[column] for column in columns[name]))
            found = [dict(row._mapping) for row in source.execute(wanted)]
            connection.execute(sa.insert(table), found)
    yield engine, columns
    engine.dispose()


def test_every_row_of_the_first_schema_is_there_after_the_upgrade_and_its_job_goes_on(
    any_url, old, filled
):
    engine, columns = old
    before = {name: rows(engine, name) for name in FIRST}
    with pytest.raises(SchemaError):
        Store.open(any_url)

    environment = os.environ | {"ARCHON_BATCH_DATABASE_URL": any_url}
    line = [sys.executable, "-m", "archon_batch", "db", "upgrade"]
    subprocess.run(line, env=environment, check=True, timeout=50)

    assert {name: rows(engine, name, columns[name]) for name in FIRST} == before
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    store = Store.open(any_url)
    (job,) = store.jobs.all()
    assert job == filled.jobs.get(job.id)
    assert job.priority == "normal"
    assert [turn.shard for turn in store.shard_cursors.start(job.id, 4, "broker", "joins")] == [0]
    (first, *_) = store.items.open_in_shard(job.id, 0)
    assert [reply.text for reply in first.replies.values()] == ["four"]
    store.close()
