"""C12 and C13: databases that cannot be reached, written or understood, and disks that are full."""

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.catalogue.desk import DATABASE, SUBMIT, Desk, entries, jsonl, told

URL = "ARCHON_BATCH_DATABASE_URL"
AT = "@127.0.0.1:1/night"
COMMANDS = (SUBMIT, ("jobs",), ("resume", "rows-arch"), ("export", "rows-arch"))


@pytest.mark.parametrize(
    ("url", "status", "says"),
    entries(
        ("C12 no address", "archon-batch.db", 2, f"{URL}: not a database URL; try sqlite:///"),
        (
            "C12 old scheme",
            "postgres://me:sesame" + AT,
            2,
            f"{URL}: postgres is not supported; use sqlite:///FILE or postgresql+psycopg://",
        ),
        ("C12 another server", "mysql://me:sesame" + AT, 2, f"{URL}: mysql is not supported; use"),
        (
            "C12 another driver",
            "postgresql://me:sesame" + AT,
            2,
            "use sqlite:///FILE or postgresql+psycopg://",
        ),
        (
            "C12 in memory",
            "sqlite://",
            2,
            f"{URL}: an in-memory database is lost at exit; name a file",
        ),
        ("C12 in no folder", "sqlite:///no/such/a.db", 2, "/desk/no/such"),
        ("C12 a folder with a colour", "sqlite:///\x1b[31m/a.db", 2, r"/desk/\x1b[31m"),
        (
            "C12 a folder",
            "sqlite:///.",
            3,
            "database: .: unable to open database file; it must be a",
        ),
        ("C12 a device", "sqlite:////dev/full", 3, "database: /dev/full: "),
        (
            "C12 another file",
            "sqlite:///rows.jsonl",
            3,
            "rows.jsonl: file is not a database; set ARCHON_BATCH_DATABASE_URL to another file",
        ),
        ("C12 nobody there", "postgresql+psycopg://me:sesame" + AT, 3, "refused"),
        (
            "C12 two @",
            "postgresql+psycopg://me:ses@me" + AT,
            2,
            f"{URL}: more than one @; write one in a password as %40",
        ),
        ("C12 no port", "postgresql+psycopg://me@h:sesame/x", 2, f"{URL}: not a database URL; try"),
    ),
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_address_without_a_database_is_refused(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    url: str,
    status: int,
    says: str,
) -> None:
    if url.startswith("postgresql+psycopg"):
        pytest.importorskip("psycopg")
    monkeypatch.setenv(URL, url)

    ended = desk.refuses(*command, status=status, says=("error: ", says))

    assert ended.err.count("\n") == 1
    assert not re.search("sesame|ses@|@me", ended.err)


def test_c12_an_empty_address_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "")

    desk.takes()

    assert (desk.folder / DATABASE).exists()


@pytest.mark.parametrize(
    ("version", "says"),
    entries(
        (
            "C13 the schema before",
            "0012",
            "has schema 0012, this program needs {head}; run: archon-batch db upgrade",
        ),
        ("C13 an older schema", "0011", "it is too old to be upgraded: finish its jobs with the"),
        ("C13 a newer schema", "9999", "needs {head}: a newer archon-batch made it; install that"),
        ("C13 a schema of another program", "f00d", "a newer archon-batch made it; install that"),
    ),
)
def test_a_database_of_another_version_is_left_as_it_is(
    desk: Desk, version: str, says: str
) -> None:
    desk.takes()
    head = _schema(desk)
    _schema(desk, version)
    before = (desk.folder / DATABASE).read_bytes()
    sent = desk.provider.request_count
    newer = () if version == "0012" else (("db", "upgrade"),)

    for command in (*COMMANDS, *newer):
        ended = desk.run(*command)
        assert ended.status == 3, command
        assert says.format(head=head) in ended.err
        assert ended.err.count("\n") == 1
        told(ended)

    assert (desk.folder / DATABASE).read_bytes() == before
    assert desk.provider.request_count == sent


def _schema(desk: Desk, version: str | None = None) -> str:
    """Which it is of, after it was set."""
    with closing(sqlite3.connect(desk.folder / DATABASE)) as database:
        if version:
            database.execute("UPDATE alembic_version SET version_num = ?", (version,))
            database.commit()
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can get to, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def _as_a_user() -> Iterator[None]:
    """Without the right to write everywhere, which root has."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.mark.parametrize(
    ("folder", "file", "says"),
    entries(
        ("C12 a folder that is read-only", 0o555, None, "unable to open database file; it must be"),
        (
            "C12 all of it is read-only",
            0o555,
            0o444,
            "readonly database; the file and its folder must be writable",
        ),
        (
            "C12 a file that is read-only",
            0o755,
            0o444,
            "readonly database; the file and its folder must be writable",
        ),
        ("C12 a file that is nobody's", 0o755, 0o000, "unable to open database file; it must be a"),
    ),
)
def test_a_database_that_may_not_be_written_is_said_to_be_so(
    desk: Desk,
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: int,
    file: int | None,
    says: str,
) -> None:
    job = desk.takes()
    database = open_folder / DATABASE
    if file is not None:
        shutil.copy(desk.folder / DATABASE, database)
        database.chmod(file)
    open_folder.chmod(folder)
    for name in ("rows.jsonl", "arch.yaml"):
        shutil.copy(desk.folder / name, open_folder)
    monkeypatch.chdir(open_folder)
    monkeypatch.setenv(URL, f"sqlite:///{database}")
    sent = desk.provider.request_count

    with _as_a_user():
        ended = [desk.run(*SUBMIT, "--name", "other"), desk.run("resume", job)]

    for one in ended:
        assert one.status == 3, one
        assert one.err.startswith(f"error: database: {database}: ")
        assert says in one.err
        assert one.err.count("\n") == 1
    assert desk.provider.request_count == sent
    there = {"arch.yaml", "rows.jsonl"} | ({DATABASE} if file is not None else set())
    assert {path.name for path in open_folder.iterdir()} == there


@pytest.fixture
def small() -> Iterator[dict[str, int]]:
    """How many pages a database may have: what a full disk is to SQLite."""
    pages: dict[str, int] = {}

    def limit(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection) and pages:
            connection.execute(f"PRAGMA max_page_count={pages['most']}")

    sa.event.listen(sa.pool.Pool, "connect", limit)
    yield pages
    sa.event.remove(sa.pool.Pool, "connect", limit)


@pytest.mark.parametrize("pages", [1, 60], ids=["C18 at its tables", "C18 at its rows"])
def test_a_disk_that_fills_up_at_a_submission_leaves_nothing_of_it(
    desk: Desk, small: dict[str, int], pages: int
) -> None:
    desk.write("rows.jsonl", jsonl(*({"prompt": f"{n} " * 500} for n in range(500))))
    if pages > 1:
        assert desk.run("jobs").status == 0
    small["most"] = pages
    sent = desk.provider.request_count

    ended = desk.run(*SUBMIT)

    assert ended.status == 3
    assert ended.err == (
        "error: database: archon-batch.db: database or disk is full; "
        "make room; stored data is kept, and resume continues\n"
    )
    small.clear()
    assert (desk.json("jobs"), desk.provider.request_count) == ([], sent)
    assert len(desk.run(*SUBMIT, "--detach").out.strip()) == 12
    assert desk.json("status", "rows-arch")["rows"] == 500
