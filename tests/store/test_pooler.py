"""Behind a pooler that gives each transaction another session of the server: PgBouncer's."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from archon_batch.errors import SettingsError, StoreUnavailableError
from archon_batch.store import Store, retry_while_unavailable
from archon_batch.store.database import create_engine
from tests.acceptance.servers import absent
from tests.builders import a_finish, a_job, a_start

pytestmark = pytest.mark.postgres

INI = """\
[databases]
{name} = host=127.0.0.1 port=5432 dbname={name} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 3
unix_socket_dir =
logfile = {folder}/log
"""


@pytest.fixture
def pooled_url(postgres_url):
    """A new database, by way of a pooler in transaction mode with three sessions."""
    program = shutil.which("pgbouncer") or absent("no pgbouncer on this machine")
    # Where another user can get to, as in pytest's folders nobody can.
    folder = Path(tempfile.mkdtemp())
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    name = create_engine(postgres_url).url.database
    (folder / "ini").write_text(INI.format(name=name, port=port, folder=folder))
    pooler = subprocess.Popen([program, "-q", folder / "ini"], user=user, cwd="/")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/{name}"
    pooler.terminate()
    pooler.wait()
    shutil.rmtree(folder)


def test_two_processes_write_many_attempts(pooled_url):
    stores = [Store.open(pooled_url) for _ in range(2)]
    job = a_job(stores[0], questions=40)

    def work(ix):
        store = stores[ix % 2]
        for slot in range(8):
            start = a_start(job, ix=ix, slot=slot)
            store.attempt_writer.admit(start).result(60)
            store.attempt_writer.settle(a_finish(start)).result(60)
            store.jobs.get(job.id)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(40)))

    found = stores[0].audit.check(job.id)
    assert found.recomputed == found.stored == (40 * 8 * 60, 0, 0)
    for store in stores:
        store.close()


def shown(connection, name):
    return connection.exec_driver_sql(f"SHOW {name}").scalar()


def test_every_transaction_has_its_own_settings_only(pooled_url, postgres_url):
    database = create_engine(postgres_url).url.database
    server = create_engine(postgres_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    server.dispose()
    store = Store.open(pooled_url)

    with store.database.write_transaction() as connection:
        inside = [
            shown(connection, name)
            for name in ("synchronous_commit", "idle_in_transaction_session_timeout")
        ]
    stranger = sa.create_engine(pooled_url, connect_args={"prepare_threshold": None})
    with stranger.connect() as connection:
        outside = shown(connection, "idle_in_transaction_session_timeout")
    stranger.dispose()
    store.close()

    assert inside == ["on", "15s"]
    assert outside == "0"


def _threshold(connection: sa.Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.prepare_threshold


def test_an_unrecognised_pooler_is_detected_by_its_errors(postgres_url):
    store = Store.open(postgres_url)
    job = a_job(store)
    raised = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '42P05'; END $$"

    with pytest.raises(StoreUnavailableError), store.database.write_transaction() as connection:
        connection.exec_driver_sql(raised)

    with store.database.read_transaction() as connection:
        assert _threshold(connection) is None
    assert retry_while_unavailable(lambda: store.jobs.get(job.id)) == job
    store.close()


def test_a_direct_connection_keeps_its_prepared_statements(postgres_url):
    store = Store.open(postgres_url)

    with store.database.read_transaction() as connection:
        assert _threshold(connection) == 5
    store.close()


@pytest.mark.parametrize(("word", "threshold"), [("0", 0), ("7", 7), ("none", None)])
def test_the_address_sets_the_prepare_threshold(postgres_url, word, threshold):
    store = Store.open(f"{postgres_url}?prepare_threshold={word}")

    with store.database.read_transaction() as connection:
        assert _threshold(connection) == threshold
    store.close()


@pytest.mark.parametrize("word", ["never", "-1", "1.5"])
def test_an_invalid_prepare_threshold_is_refused(word):
    with pytest.raises(SettingsError, match="prepare_threshold"):
        create_engine(f"postgresql+psycopg://127.0.0.1/nightly?prepare_threshold={word}")
