"""Databases that are shared, read-only, full, or unavailable: nothing is lost, and it is reported."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.acceptance.stage import PRICES, Stage, until
from tests.fork_server import Popen
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(150)

SUBMIT = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "nightly")
#: Calls of a row.
ROW = 8

#: The program with less patience: a second until a database is given up that is away. While there
#: is a file ``full``, SQLite may have no more pages than it says: to it, that is a full disk.
HASTY = """\
import sys
from dataclasses import replace
from pathlib import Path
import sqlalchemy as sa
from archon_batch.cli import main
from archon_batch.settings import Settings, Timing
from archon_batch.store import database

database.MAX_UNAVAILABLE_SECONDS = 1.0
read = Settings.from_environment
Settings.from_environment = lambda: replace(read(), timing=Timing(watchdog_interval=0.5))
full = Path("full")

def limit(connection, _record, _proxy):
    try:
        pages = int(full.read_text())
    except FileNotFoundError:
        pages = 1 << 30
    connection.execute(f"PRAGMA max_page_count={pages}")

if full.exists():
    sa.event.listen(sa.pool.Pool, "checkout", limit)
main(sys.argv[1:])
"""


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(prices=PRICES, latency=0.05) as started:
        yield started


@pytest.fixture
def stage(tmp_path: Path, provider: ProviderServer) -> Stage:
    stage = Stage(tmp_path, ARCHON_BATCH_SPOOL=str(tmp_path / "spool"))
    stage.dataset(12)
    stage.architecture(provider.url)
    return stage


def _hasty(stage: Stage, *arguments: str) -> subprocess.Popen[str]:
    return Popen(
        [sys.executable, "-c", HASTY, *arguments],
        cwd=stage.folder,
        env=stage.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def _gave_up(process: subprocess.Popen[str], *why: str) -> None:
    """The process ends with status 3, and its last words are one line that says why."""
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    last = err.splitlines()[-1]
    assert last.startswith("error: database: ")
    assert not [words for words in why if words not in last], err
    assert "Traceback" not in err


def _count_unsent(stage: Stage) -> int:
    """Attempts that were recorded by a commit without a confirmation, and so not sent."""
    default = f"sqlite:///{stage.folder}/archon-batch.db"
    url = stage.environment.get("ARCHON_BATCH_DATABASE_URL", default)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        query = sa.text("SELECT count(*) FROM attempts WHERE state = 'not_sent'")
        return int(connection.execute(query).scalar_one())


def _whole(
    stage: Stage, provider: ProviderServer, rows: int, job: str = "nightly"
) -> dict[str, Any]:
    """Every row is answered, and the bill is paid, or in doubt."""
    status: dict[str, Any] = stage.json("status", job)
    assert (status["state"], status["answered"]) == ("done", rows)
    sent = status["attempts"] - _count_unsent(stage)
    assert (sent, status["in_flight_usd"]) == (provider.request_count, 0)
    lost = provider.bill - stage.nano_usd(job)
    assert 0 <= lost <= round(status["in_doubt_usd"] * 10**9)
    return status


def test_four_jobs_at_once_on_one_sqlite_file_lose_no_update_and_see_no_lock_error(
    stage: Stage, provider: ProviderServer
) -> None:
    names = [f"job-{n}" for n in range(4)]
    submits = [stage.start(*SUBMIT[:-1], name) for name in names]
    looks = [stage.start(*look) for look in [("status", "job-0", "--follow"), ("jobs",)]]
    said = [process.communicate(timeout=100) for process in [*submits, *looks]]

    assert [process.returncode for process in submits] == [0] * 4, said
    assert not [err for _, err in said if "locked" in err or "Traceback" in err]
    jobs = {job["name"]: job for job in stage.json("jobs")}
    assert [jobs[name]["answered"] for name in names] == [12] * 4
    assert provider.request_count == 12 * ROW
    assert sum(round(job["usd"] * 10**9) for job in jobs.values()) == provider.bill


def test_a_disk_that_fills_up_during_a_run_loses_nothing_and_the_job_continues(
    stage: Stage, provider: ProviderServer
) -> None:
    stage.run(*SUBMIT, "--detach")
    with closing(sqlite3.connect(stage.folder / "archon-batch.db")) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    full = stage.write("full", str(pages + 12))

    with _hasty(stage, "resume", "nightly") as run:
        assert run.stderr
        told = next(
            line for line in run.stderr if "archon-batch.db: database or disk is full" in line
        )
        begun = provider.request_count
        full.unlink()
        err = told + run.stderr.read()
    # It waits for room, or ends when there is something to begin and none to begin it in.
    if run.returncode == 3:
        stage.run("resume", "nightly")
    else:
        assert run.returncode == 0, err

    assert "make room" in told
    assert "Traceback" not in err
    assert 0 < begun < 12 * ROW
    assert _whole(stage, provider, rows=12)["in_doubt_usd"] == 0
    assert provider.request_count == 12 * ROW
    assert not list((stage.folder / "spool").rglob("*.json"))


@dataclass(frozen=True)
class Server:
    """A Postgres of the test's own, to be killed and started again."""

    url: str
    data: Path
    programs: Path

    def ctl(self, *arguments: str) -> None:
        line = [
            self.programs / "pg_ctl",
            "-D",
            self.data,
            "-w",
            "-l",
            self.data / "log",
            *arguments,
        ]
        _as_postgres(*line)


def _as_postgres(*line: object) -> None:
    # Postgres refuses to be run by root.
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        list(map(str, line)), user=user, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg")
    homes = [Path(p).parent for p in [shutil.which("initdb")] if p]
    homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not homes:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no initdb on this machine")
    # Where another user can get to, as in pytest's folders nobody can.
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    data = folder / "data"
    _as_postgres(
        homes[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N",
        "--no-instructions", "-E", "UTF8", "--locale", "C",
    )  # fmt: skip
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(f"port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n")
    started = Server(
        f"postgresql+psycopg://postgres:sesame@127.0.0.1:{port}/postgres", data, homes[-1]
    )
    started.ctl("start")
    try:
        yield started
    finally:
        started.ctl("stop", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.mark.postgres
def test_a_run_waits_for_a_postgres_that_is_killed_and_restarted(
    stage: Stage, provider: ProviderServer, server: Server
) -> None:
    stage.environment["ARCHON_BATCH_DATABASE_URL"] = server.url
    run = stage.start(*SUBMIT)

    for requests in (16, 48):
        until(lambda least=requests: provider.request_count >= least)
        server.ctl("stop", "-m", "immediate")
        # Longer than between two looks of the command.
        time.sleep(1)
        server.ctl("start")
    _, err = run.communicate(timeout=100)

    assert run.returncode == 0, err
    assert "Traceback" not in err
    assert _whole(stage, provider, rows=12)["in_doubt_usd"] == 0
    assert provider.request_count == 12 * ROW


@pytest.mark.postgres
def test_a_postgres_that_stays_down_ends_the_run_and_no_answered_call_is_sent_again(
    stage: Stage, provider: ProviderServer, server: Server
) -> None:
    stage.environment["ARCHON_BATCH_DATABASE_URL"] = server.url
    stage.run(*SUBMIT, "--detach")
    run = _hasty(stage, "resume", "nightly")

    until(lambda: provider.request_count >= 16)
    server.ctl("stop", "-m", "immediate")
    _gave_up(run, "connection")
    away = stage.start("status", "nightly")
    _gave_up(away, "refused")
    assert list((stage.folder / "spool").rglob("*.json"))
    server.ctl("start")
    stage.run("resume", "nightly")

    assert _whole(stage, provider, rows=12)["in_doubt_usd"] == 0
    assert provider.request_count == 12 * ROW
    assert not list((stage.folder / "spool").rglob("*.json"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("harm", ["moved", "replaced by an older copy"])
def test_a_database_file_removed_during_a_run_ends_the_command_and_nothing_is_paid_twice(
    stage: Stage, provider: ProviderServer, harm: str
) -> None:
    stage.run(*SUBMIT, "--detach")
    file, there = stage.folder / "archon-batch.db", stage.folder / "there"
    old, parts = stage.folder / "old.db", ("", "-wal", "-shm")
    shutil.copy(file, old)
    there.mkdir()
    with _hasty(stage, "resume", "nightly") as run:
        until(lambda: provider.request_count >= ROW)
        for part in parts:
            (stage.folder / f"{file.name}{part}").rename(there / f"{file.name}{part}")
        if harm != "moved":
            old.rename(file)
        _gave_up(run, "then resume")
    begun = provider.request_count
    assert begun < 12 * ROW

    if harm != "moved":
        with _hasty(stage, "resume", "nightly") as run:
            _gave_up(run, "does not know", "db accept")
        assert provider.request_count == begun
    for part in parts:
        (stage.folder / f"{file.name}{part}").unlink(missing_ok=True)
        if (kept := there / f"{file.name}{part}").exists():
            kept.rename(stage.folder / kept.name)
    stage.run("resume", "nightly")

    assert _whole(stage, provider, rows=12)["in_doubt_usd"] == 0
    assert provider.request_count == 12 * ROW
