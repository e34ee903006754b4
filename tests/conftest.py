"""What every test stands on: no network, a clean environment, and databases of its own."""

import os
import re
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
import structlog
from redis import Redis, RedisError
from sqlmodel import SQLModel

from archon_batch.errors import SettingsError
from archon_batch.sandbox import Sandbox
from archon_batch.store import Store

_SERVER = "host=127.0.0.1 user=postgres dbname=postgres connect_timeout=3"
_REDIS = "redis://127.0.0.1:6379"

# No deadline: a busy machine is not a finding. pytest --hypothesis-profile chooses another profile.
for _profile, _examples in (("ci", 100), ("local", 50), ("quick", 15)):
    hypothesis.settings.register_profile(_profile, deadline=None, max_examples=_examples)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# Every process of a run would compile everything anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: What makes a test slow: its path, a server that it needs, and a fixture that starts a program.
_SLOW_PATHS = tuple(
    f"tests/{path}"
    for path in (
        "acceptance/", "sandbox/", "cli/test_jobs_folder", "cli/test_plan", "cli/test_retry",
        "engine/test_in_process", "evaluation/test_maths", "jobs/test_pilot_estimate",
    )
)  # fmt: skip
_SLOW_MARKS = {"postgres", "redis", "slow"}
_SLOW_FIXTURES = {"postgres_url", "redis_url", "rabbit_url", "little", "look", "sandbox"}
_SHARED_FIXTURES = {"installed", "look"}

#: What the program, its providers and their clients read.
_READ = re.compile(r"^(ARCHON_BATCH|AWS|AZURE)_|_API_(KEY|BASE|TOKEN)$|_BASE_URL$|^HF_TOKEN$")

# Before any test module is imported, since the engine reads its settings when it is.
for _name in [name for name in os.environ if _READ.search(name)]:
    del os.environ[_name]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Twice the cores where slow tests run, since half of their time is waiting."""
    return (os.cpu_count() or 1) * (1 if "not slow" in config.option.markexpr else 2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests, and have each worker of pytest-xdist begin with its share of them."""
    # Together: the tests of a file that share what takes seconds to make.
    groups: dict[str, list[pytest.Item]] = {}
    quick: list[pytest.Item] = []
    for item in items:
        if _is_slow(item):
            item.add_marker(pytest.mark.slow)
            together = not _SHARED_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
            groups.setdefault(str(item.path) if together else item.nodeid, []).append(item)
        else:
            quick.append(item)
    slow = list(groups.values())
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    size = -(-len(quick) // workers)
    items[:] = [
        item
        for worker in range(workers)
        for item in (
            *chain.from_iterable(slow[worker::workers]),
            *quick[worker * size : (worker + 1) * size],
        )
    ]


def _is_slow(item: pytest.Item) -> bool:
    return (
        item.nodeid.startswith(_SLOW_PATHS)
        or any(mark.name in _SLOW_MARKS for mark in item.iter_markers())
        or not _SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    )


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family != socket.AF_UNIX and not re.match(r"127\.|::1$|localhost$", address[0]):
            pytest.fail(f"a test reached for the network: {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if _READ.search(name)]:
        monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@contextmanager
def _a_database() -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    name = f"archon_batch_{uuid.uuid4().hex}"
    try:
        server = psycopg.connect(_SERVER, autocommit=True)
    except psycopg.OperationalError as error:
        _absent(f"no PostgreSQL on loopback: {error}")
    with server:
        server.execute(f"CREATE DATABASE {name}")
        yield f"postgresql+psycopg://postgres@127.0.0.1/{name}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A new database of the test's own."""
    with _a_database() as url:
        yield url


@pytest.fixture(scope="session")
def _shared_postgres_url() -> Iterator[str]:
    with _a_database() as url:
        yield url


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A database number that nobody uses."""
    for number in range(15, 0, -1):
        server = Redis.from_url(f"{_REDIS}/{number}", socket_connect_timeout=3)
        try:
            # The mark keeps others that choose in the same way off while the test is starting.
            free = server.dbsize() == 0 and server.set("chosen by a test", "1", nx=True, ex=300)
        except RedisError as error:
            _absent(f"no Redis on loopback: {error}")
        if free:
            yield f"{_REDIS}/{number}"
            server.flushdb()
            server.close()
            return
        server.close()
    _absent("no Redis database from 1 to 15 is free")


_EITHER = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=_EITHER)
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=_EITHER)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on a database of both kinds in turn."""
    if request.param == "sqlite":
        opened = Store.open(f"sqlite:///{tmp_path}/store.db")
    else:
        # One database for all tests, since to make one takes longer than a test.
        opened = Store.open(request.getfixturevalue("_shared_postgres_url"))
        with opened.database.write_transaction() as connection:
            for table in reversed(SQLModel.metadata.sorted_tables):
                connection.exec_driver_sql(f"DELETE FROM {table.name}")  # noqa: S608
    yield opened
    opened.close()


@pytest.fixture
def sandbox() -> Sandbox:
    """The sandbox of this machine."""
    try:
        return Sandbox()
    except SettingsError as error:
        _absent(str(error))


def _absent(why: str) -> NoReturn:
    """Skip at a desk; in CI a server that is not there is a failure."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
