"""A database that is not the one that was there is noticed before anything is paid for again."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from archon_batch.errors import StoreReplacedError, StoreUnavailableError
from archon_batch.store import Job, Store
from archon_batch.store.high_water_mark import RecordedTotals
from tests.builders import a_finish, a_job, a_start

PARTS = ("", "-wal", "-shm")


def file(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir(exist_ok=True)
    return folder / "ledger.db"


@contextmanager
def opened(path: Path, spool: Path | None) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{path}", spool)
    try:
        yield store
    finally:
        store.close()


def begun(store: Store, job: Job, *slots: int) -> None:
    for slot in slots:
        store.attempt_writer.admit(a_start(job, slot=slot)).result(30)


def accepted(store: Store) -> RecordedTotals:
    assert store.high_water_mark is not None
    missing = store.high_water_mark.accept()
    assert missing is not None
    return missing


def copied(path: Path, to: Path) -> None:
    """As somebody copies a database that is in use."""
    to.parent.mkdir(exist_ok=True)
    for part in PARTS:
        if Path(f"{path}{part}").exists():
            shutil.copy(f"{path}{part}", f"{to}{part}")


def away(path: Path) -> None:
    for part in PARTS:
        Path(f"{path}{part}").unlink(missing_ok=True)


HARMS = {
    "deleted": away,
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": lambda path: (shutil.copy(path, f"{path}.old"), Path(f"{path}.old").replace(path)),
    "its folder renamed": lambda path: path.parent.rename(path.parent.with_name("there")),
    "its log deleted": lambda path: Path(f"{path}-wal").unlink(),
    "its index deleted": lambda path: Path(f"{path}-shm").unlink(),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_missing_file_admits_nothing_and_an_answer_is_spooled(tmp_path, harm):
    path, spool = file(tmp_path), tmp_path / "spool"
    with opened(path, spool) as store:
        job = a_job(store)
        begun(store, job, 0)
        before = set(path.parent.iterdir())

        harm(path)

        with pytest.raises(StoreReplacedError, match=r"is (gone|another file now)"):
            begun(store, job, 1)
        # What is in hand is kept, at once.
        store.attempt_writer.settle(a_finish(a_start(job))).result(5)
        assert len(list(spool.rglob("*.json"))) == 1
        with pytest.raises(StoreReplacedError, match="then resume"):
            store.jobs.get(job.id)
        if path.parent.exists():
            assert {p.name for p in path.parent.iterdir()} <= {p.name for p in before} | {
                "elsewhere.db"
            }


def test_a_restored_file_gets_the_spooled_answer(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    with opened(path, spool) as store:
        job = a_job(store)
        begun(store, job, 0)
        path.rename(path.with_name("elsewhere.db"))
        store.attempt_writer.settle(a_finish(a_start(job))).result(5)
        with pytest.raises(StoreReplacedError):
            begun(store, job, 1)
    path.with_name("elsewhere.db").rename(path)

    with opened(path, spool) as store:
        assert store.recover() == 0
        assert store.jobs.get(job.id).spent == 60
        begun(store, job, 1)


def test_an_older_copy_is_refused_until_it_is_accepted(tmp_path):
    path, spool, old = file(tmp_path), tmp_path / "spool", tmp_path / "old" / "ledger.db"
    with opened(path, spool) as store:
        job = a_job(store)
        store.recover()
        begun(store, job, 0)
    copied(path, old)
    with opened(path, spool) as store:
        begun(store, job, 1, 2)
        store.attempt_writer.settle(a_finish(a_start(job, slot=1))).result(5)
        store.recover()
    away(path)
    copied(old, path)

    with opened(path, spool) as store:
        assert store.problems() != []
        with pytest.raises(StoreReplacedError, match=r"does not know 2 attempts.*db accept"):
            store.recover()
        with pytest.raises(StoreReplacedError):
            begun(store, job, 3)
    with opened(path, spool) as store:
        assert str(accepted(store)).startswith("2 attempts (0.00000006 USD)")
        assert store.problems() == []
        store.recover()
        begun(store, job, 3)


def test_attempts_are_counted_before_the_next_check(tmp_path):
    path, spool, old = file(tmp_path), tmp_path / "spool", tmp_path / "old" / "ledger.db"
    with opened(path, spool) as store:
        job = a_job(store)
        begun(store, job, 0)
        copied(path, old)
        begun(store, job, 1)
    away(path)
    copied(old, path)

    with opened(path, spool) as store, pytest.raises(StoreReplacedError, match="1 attempt "):
        store.recover()


@pytest.mark.slow
def test_a_killed_process_leaves_its_mark(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    dies = (
        "import os, sys; from pathlib import Path; from archon_batch.store import Store\n"
        "from tests.builders import a_job, a_start\n"
        "store = Store.open(sys.argv[1], Path(sys.argv[2])); job = a_job(store)\n"
        "store.attempt_writer.admit(a_start(job)).result(30); os.kill(os.getpid(), 9)\n"
    )
    line = [sys.executable, "-c", dies, f"sqlite:///{path}", str(spool)]
    subprocess.run(line, cwd=Path(__file__).parents[2], check=False)
    # Who tidies up thinks that it is of no use any more.
    Path(f"{path}-wal").unlink()

    # The log had everything in it, the tables too, so that another database is made there.
    with opened(path, spool) as store, capture_logs() as logs:
        store.recover()

    assert [(e["event"], e["attempts"]) for e in logs] == [("database_replaced", 1)]


def test_a_new_database_at_the_same_address_is_logged_once(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    with opened(path, spool) as store:
        begun(store, a_job(store), 0, 1)
    away(path)

    with capture_logs() as logs:
        for _ in range(2):
            with opened(path, spool) as store:
                store.recover()

    assert [(e["event"], e["attempts"]) for e in logs] == [("database_replaced", 2)]


def test_an_older_copy_without_an_id_is_refused_too(tmp_path):
    path, spool, old = file(tmp_path), tmp_path / "spool", tmp_path / "old" / "ledger.db"
    with opened(path, None) as store:
        job = a_job(store)
        copied(path, old)
    with opened(path, spool) as store:
        begun(store, job, 0)
    away(path)
    copied(old, path)

    with opened(path, spool) as store, pytest.raises(StoreReplacedError, match="1 attempt "):
        store.recover()
    with opened(path, spool) as store:
        assert accepted(store).attempts == 1
        store.recover()


@pytest.mark.parametrize("how", ["copied", "renamed", "by a link"])
def test_a_copied_or_renamed_folder_continues_silently(tmp_path, how):
    path, spool, there = file(tmp_path), tmp_path / "spool", tmp_path / "there"
    with opened(path, spool) as store:
        job = a_job(store)
        begun(store, job, 0)
        store.recover()
    if how == "copied":
        shutil.copytree(path.parent, there)
        with opened(path, spool) as store:
            begun(store, job, 1)
    elif how == "renamed":
        path.parent.rename(there)
    else:
        there.symlink_to(path.parent)

    with opened(there / path.name, spool) as store, capture_logs() as logs:
        store.recover()
        begun(store, job, 2)

    assert logs == []


def test_a_link_with_a_new_target_is_another_file(tmp_path):
    path, link = file(tmp_path), tmp_path / "link.db"
    link.symlink_to(path)
    with opened(link, None) as store:
        job = a_job(store)
        other = tmp_path / "other.db"
        copied(path, other)
        link.unlink()
        link.symlink_to(other)

        with pytest.raises(StoreReplacedError, match="another file"):
            begun(store, job, 0)


def test_two_processes_on_one_file_count_the_attempts_of_both(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    with ExitStack() as stack:
        one, two = (stack.enter_context(opened(path, spool)) for _ in range(2))
        job = a_job(one)
        for slot in range(4):
            begun(one, job, 2 * slot)
            begun(two, job, 2 * slot + 1)
        assert (one.recover(), two.recover()) == (0, 0)
    (seen,) = spool.rglob("*.high-water-mark")

    assert "[8, 0]" in seen.read_text()
    assert seen.stat().st_mode & 0o777 == 0o600


def test_losing_free_attempts_is_no_loss(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    with opened(path, spool) as store:
        job = a_job(store)
        store.attempt_writer.admit(a_start(job, hold=0)).result(30)
        store.recover()

    assert "{}" in next(spool.rglob("*.high-water-mark")).read_text()


def test_an_unwritable_or_unreadable_mark_stops_nothing(tmp_path):
    path, spool = file(tmp_path), tmp_path / "spool"
    with opened(path, spool) as store:
        job = a_job(store)
        begun(store, job, 0)
    (seen,) = spool.rglob("*.high-water-mark")
    seen.write_text("[[[")

    with opened(path, spool) as store, capture_logs() as logs:
        store.recover()
        begun(store, job, 1)
        (tmp_path / "spool").rename(tmp_path / "gone")
        (tmp_path / "spool").write_text("no folder")
        begun(store, job, 2)
        store.recover()

    assert {e["event"] for e in logs} == {"high_water_mark_unreadable", "high_water_mark_failed"}


@pytest.mark.postgres
def test_a_server_restored_from_a_backup_is_detected(postgres_url, tmp_path):
    """By the process that runs, after the break that a restore is, and by the next."""
    store = Store.open(postgres_url, tmp_path)
    job = a_job(store)
    store.recover()
    begun(store, job, 0, 1, 2)
    # What a restore does: the sessions end, and another state is there.
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.connect() as other:
        for table in ("calls", "attempts", "usage_totals"):
            other.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
        other.exec_driver_sql("UPDATE jobs SET held = 0")
        other.commit()
        other.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(StoreReplacedError, match=r"does not know \d attempts"):
        begun(store, job, 3)
    store.close()
    again = Store.open(postgres_url, tmp_path)
    with pytest.raises(StoreReplacedError, match="does not know"):
        again.recover()
    again.close()


def test_a_file_is_the_same_after_all_its_connections_were_closed(tmp_path):
    path = file(tmp_path)
    with opened(path, None) as store, opened(path, None) as other:
        job = a_job(store)
        store.database.engine.dispose()
        other.database.engine.dispose()

        assert store.jobs.get(job.id) == job
        begun(store, job, 0)


def test_attempts_checked_before_they_are_counted_count_once(tmp_path, monkeypatch):
    with opened(file(tmp_path), tmp_path / "spool") as store:
        job, mark = a_job(store), store.high_water_mark
        assert mark is not None
        begun(store, job, 0)
        counts, looks = mark.count_attempts, threading.Thread(target=mark.check)

        def late(starts: Any) -> None:
            # The attempt is committed by now; the check must wait until it is counted.
            looks.start()
            looks.join(1)
            counts(starts)

        monkeypatch.setattr(mark, "count_attempts", late)
        begun(store, job, 1)
        looks.join()

        store.recover()
        assert store.problems() == []


def test_attempts_of_an_unconfirmed_commit_count_once(tmp_path, monkeypatch):
    with opened(file(tmp_path), tmp_path / "spool") as store:
        job = a_job(store)
        begun(store, job, 0)
        commit, lost = store.attempt_writer._commit_transaction, [StoreUnavailableError("cut")]

        def unconfirmed(*work: Any) -> Any:
            done = commit(*work)
            if lost:
                store.high_water_mark.check()  # type: ignore[union-attr]
                raise lost.pop()
            return done

        monkeypatch.setattr(store.attempt_writer, "_commit_transaction", unconfirmed)
        begun(store, job, 1)

        store.recover()
        assert store.problems() == []
